"""What a user supplies: the model, the loss, the data, the optimizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import DataError, ModelError, UsageError
from thalweg.objective.epochs import Epochs

__all__ = ["Task"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A training, as its user has it.

    Attributes:
        model: any ``nn.Module``, at the weights where it stands now.
        train: ``(inputs, targets)`` tensors, a ``Dataset``, a ``DataLoader``, or
            :class:`thalweg.Epochs` of one, which is then ``epochs``, and tells where in an epoch
            the training stands.
        optimizer: any ``torch.optim.Optimizer`` over the model's parameters, with its state.
        loss: ``loss(model(input), target) -> scalar``, the mean over the examples of a batch.
        batch_loss: in place of ``loss``: ``batch_loss(model, batch) -> scalar``.
        test: held-out data in the same form as ``train``; optional.
        batch_size: examples a step; a DataLoader brings its own. ``None`` means all of them.
        schedule: a ``torch.optim.lr_scheduler`` on ``optimizer``, stepped once a batch.
        step: in place of the plain step: ``step(model, batch, optimizer, **parts) -> loss`` takes
            one step of the training on what it is given. The loss is then only looked at.
        parts: what else ``step`` changes, by the names of its arguments: a GradScaler, an average of
            the weights, other optimizers. Each fork has copies of them.
        history: the loss of every step so far, oldest first, or a Trajectory; optional.
        steps: length of the whole training in steps, for budgets given as a share of it; optional.
        name: how reports call it.

    Raises:
        UsageError, ModelError, DataError: where an argument cannot be what it must be. What is
        only wired wrongly (an optimizer that holds other parameters, say) is a finding of
        :func:`thalweg.diagnose`, not an error.
    """

    model: nn.Module
    train: Any
    optimizer: torch.optim.Optimizer
    loss: Callable[[Any, Any], Tensor] | None = None
    batch_loss: Callable[[nn.Module, Any], Tensor] | None = None
    test: Any = None
    batch_size: int | None = None
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    step: Callable[..., Any] | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    history: Any | Sequence[float] | None = None
    steps: int | None = None
    name: str = "task"
    epochs: Epochs | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ModelError(f"model must be a torch.nn.Module, not {_kind(self.model)}")
        if next(self.model.parameters(), None) is None:
            raise ModelError(
                f"model must have parameters, but {_kind(self.model)} has none to train"
            )
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"optimizer must be a torch.optim.Optimizer, not {_kind(self.optimizer)}"
            )
        if (self.loss is None) == (self.batch_loss is None):
            given = "neither was" if self.loss is None else "both were"
            raise UsageError(
                "exactly one of loss(output, target) and batch_loss(model, batch) must be given, "
                f"but {given}"
            )
        for name in ("loss", "batch_loss", "step"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise UsageError(f"{name} must be callable, not {_kind(getattr(self, name))}")
        if self.parts and self.step is None:
            raise UsageError("parts must go with a step that takes them, but no step was given")
        if isinstance(self.train, Epochs):
            object.__setattr__(self, "epochs", self.train)
            object.__setattr__(self, "train", self.train.loader)
        if self.epochs is not None and self.epochs.loader is not self.train:
            object.__setattr__(self, "epochs", None)
        for name in ("batch_size", "steps"):
            given = getattr(self, name)
            if given is None:
                continue
            if not isinstance(given, Integral) or isinstance(given, bool) or given < 1:
                raise UsageError(f"{name} must be a whole number above 0, not {given!r}")
            object.__setattr__(self, name, int(given))  # NumPy's whole numbers are no int
        for name in ("train", "test"):
            data = getattr(self, name)
            if data is None:
                if name == "train":
                    raise DataError("train must be given: tensors, a Dataset or a DataLoader")
            elif not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
                raise DataError(
                    f"{name} must be (inputs, targets) tensors, a Dataset or a DataLoader, "
                    f"not {_kind(data)}"
                )


def _kind(value: object) -> str:
    return type(value).__name__
