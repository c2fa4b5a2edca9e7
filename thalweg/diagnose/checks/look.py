"""One look at a task: what a few passes over a few examples show, whether or not they succeed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.data import DataLoader

from thalweg.errors import ThalwegError
from thalweg.objective.examples import Examples, batch_length
from thalweg.objective.placed import Placed, unwrapped
from thalweg.task import Task

__all__ = ["MOST", "PASSES", "Look", "mode_dependent", "rows_of"]

MOST = 256
"""Examples that a check of the wiring looks at, at most."""

PASSES = 4.0
"""What the passes of one look cost, in gradient evaluations over those examples."""

LIGHT = 3_000_000
"""Weights of a model, and hundred times the numbers of an example, for which :data:`MOST` examples
are no burden."""

SEED = 0


@dataclass(eq=False)
class Look:
    """What was seen of a task. Whatever could not be seen is None, and ``failure`` says why.

    Attributes:
        task, model: the user's own; the model without the wrappers of compilation or parallelism.
        names: of every parameter, each once.
        examples: all the training data, where it can be read.
        batch: up to :data:`MOST` examples of it, drawn with a fixed seed.
        output: of the model in evaluation mode, with its graph; only where a task has ``loss``.
        eval_loss, batch_loss, train_loss: the same examples' loss in the three modes.
        loss: the loss in the mode in which the model stands, as the task returns it.
        gradients: of that loss, in the order of ``trainable``; None for what it does not reach.
        leaves: the tensors that the graph of that loss ends in, by identity.
        failure: why the loss could not be evaluated.
    """

    task: Task
    model: nn.Module
    names: dict[int, str]
    examples: Examples | None = None
    batch: Any = None
    output: Tensor | None = None
    eval_loss: float | None = None
    batch_loss: float | None = None
    train_loss: float | None = None
    loss: Any = None
    gradients: list[Tensor | None] | None = None
    leaves: dict[int, Tensor] = field(default_factory=dict)
    failure: str = ""

    @classmethod
    def at(cls, task: Task) -> "Look":
        """Look at a task where it stands. Never raises for what is wrong with the task.

        The caller holds the global random state; the model's values, buffers and modes are put
        back here.
        """
        model = unwrapped(task.model)
        look = cls(task, model, {id(p): name for name, p in model.named_parameters()})
        try:
            look.examples = Examples.of(task.train, most=MOST)
            sample = look.examples.subsample(
                look._rows(look.examples), torch.Generator().manual_seed(SEED)
            )
            look.batch = look.on_device(sample.fetch(slice(0, len(sample))))
        except (ThalwegError, RuntimeError, TypeError, ValueError, LookupError, OSError) as error:
            look.failure = _sentence(error)
            return look
        look._take_gradient()
        look._compare_modes()
        return look

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that require a gradient, each once."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def held(self) -> list[Tensor]:
        """Whatever the optimizer holds, as often as it holds it."""
        return [p for group in self.task.optimizer.param_groups for p in group["params"]]

    @property
    def size(self) -> int:
        """Number of weights, frozen ones included."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def pairs(self) -> bool:
        """Whether the batch is an input and a target, for a loss of output and target."""
        batch = self.batch
        return self.task.loss is not None and isinstance(batch, tuple | list) and len(batch) == 2

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that go into the model; all of the batch for a ``batch_loss``."""
        return _tensors(self.batch[0] if self.pairs else self.batch)

    @property
    def target(self) -> Tensor | None:
        """The target, where it is one tensor."""
        found = self.batch[1] if self.pairs else None
        return found if isinstance(found, Tensor) and found.ndim else None

    def named(self, parameters: Sequence[Tensor], most: int = 3) -> str:
        """Up to ``most`` of their names, and how many more there are."""
        names = [f"`{self.names[id(p)]}`" for p in parameters[:most]]
        rest = len(parameters) - len(names)
        return ", ".join(names) + (f" and {rest} more" if rest else "")

    def loss_of(
        self,
        batch: Any,
        mode: str,
        *,
        shift: Sequence[Tensor] = (),
    ) -> float | None:
        """The loss of a batch in a mode, None where it fails.

        The parameters in ``shift`` are moved for it, by a fixed draw as large as they are.
        """
        placed = Placed(self.model, restore=True)
        moved = {id(p) for p in shift}
        generator = torch.Generator().manual_seed(SEED)
        try:
            with torch.no_grad(), placed.at(_values(placed), mode, SEED):
                for p in placed.parameters:
                    if id(p) in moved:
                        noise = torch.randn(p.shape, generator=generator).to(p)
                        p.add_(noise * (p.square().mean().sqrt() + 0.1))
                return float(self._evaluate(batch))
        except Exception:
            return None

    def apply_loss(self, output: Tensor, target: Tensor) -> Tensor | None:
        """The task's loss of an output and a target, None where it fails."""
        assert self.task.loss is not None
        try:
            with torch.no_grad():
                found = self.task.loss(output.clone(), target.clone())
            return found if isinstance(found, Tensor) and found.numel() == 1 else None
        except Exception:
            return None

    def reached_by_inputs(self) -> bool:
        """Whether autograd finds a way from an input to the output; True where it cannot be asked."""
        inputs, structure = tree_flatten(self.batch[0])
        leaves = [
            x.detach().clone().requires_grad_(x.is_floating_point()) if isinstance(x, Tensor) else x
            for x in inputs
        ]
        wanted = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
        if not wanted or len(wanted) < len(self.inputs):
            return True
        placed = Placed(self.model, restore=True)
        try:
            with torch.enable_grad(), placed.at(_values(placed), "eval", SEED):
                output = self.model(tree_unflatten(leaves, structure))
                if not output.requires_grad:
                    return False
                slopes = torch.autograd.grad(output.sum(), wanted, allow_unused=True)
        except Exception:
            return True
        return any(slope is not None for slope in slopes)

    def on_device(self, batch: Any) -> Any:
        """A batch where the model is."""
        device = next(self.model.parameters()).device
        return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, batch)

    def gradients_with(
        self, released: Sequence[nn.Parameter]
    ) -> tuple[list[nn.Parameter], list[Tensor | None] | None]:
        """What would be trainable, and its gradients, if some frozen parameters were released."""
        for p in released:
            p.requires_grad_(True)
        try:
            placed = Placed(self.model, restore=True)
            mode = "train" if self.model.training else "eval"
            with torch.enable_grad(), placed.at(_values(placed), mode, SEED) as parameters:
                loss = self._evaluate(self.batch)
                return self.trainable, _slopes(loss, parameters)
        except Exception:
            return [], None
        finally:
            for p in released:
                p.requires_grad_(False)

    def _take_gradient(self) -> None:
        placed = Placed(self.model, restore=True)
        mode = "train" if self.model.training else "eval"
        try:
            with torch.enable_grad(), placed.at(_values(placed), mode, SEED) as parameters:
                self.loss = self._evaluate(self.batch)
                if isinstance(self.loss, Tensor) and self.loss.requires_grad and parameters:
                    self.leaves = {id(leaf): leaf for leaf in _leaves(self.loss)}
                    if self.loss.numel() == 1:
                        self.gradients = _slopes(self.loss, parameters)
        except Exception as error:
            self.failure = _sentence(error)
        if isinstance(self.loss, Tensor):
            self.loss = self.loss.detach()

    def _compare_modes(self) -> None:
        placed = Placed(self.model, restore=True)
        if self.pairs:
            try:
                with torch.enable_grad(), placed.at(_values(placed), "eval"):
                    output = self.model(self.batch[0])
                self.output = output if isinstance(output, Tensor) else None
            except Exception as error:
                self.failure = self.failure or _sentence(error)
        if self.failure:
            return
        self.eval_loss = self.loss_of(self.batch, "eval")
        if any(True for _ in mode_dependent(self.model)):
            self.batch_loss = self.loss_of(self.batch, "batch")
            self.train_loss = self.loss_of(self.batch, "train")

    def _rows(self, examples: Examples) -> int:
        """How many examples to look at: no more than the user's batch where they may be heavy."""
        leaves = [leaf for leaf in _tensors(examples.fetch(slice(0, 1))) if leaf.ndim]
        light = self.size < LIGHT and sum(leaf[0].numel() for leaf in leaves) < LIGHT / 100
        batch = _batch_size(self.task)
        return MOST if light or batch is None else min(MOST, max(batch, 32))

    def _evaluate(self, batch: Any) -> Any:
        if self.task.batch_loss is not None:
            return self.task.batch_loss(self.model, batch)
        assert self.task.loss is not None
        return self.task.loss(self.model(batch[0]), batch[1])


def mode_dependent(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that compute something else in training than in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            if module.p > 0:
                yield module
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            if module.track_running_stats:
                yield module
        else:
            # Recurrent and attention layers hold their dropout as a number.
            share = getattr(module, "dropout", None)
            if isinstance(share, float) and share > 0:
                yield module


def rows_of(batch: Any, rows: Sequence[int]) -> Any:
    """Some of the examples of a batch."""
    length = batch_length(batch)
    chosen = torch.tensor(rows)
    return tree_map(
        lambda x: (
            x[chosen.to(x.device)] if isinstance(x, Tensor) and x.ndim and len(x) == length else x
        ),
        batch,
    )


def _slopes(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [s.to_dense() if s is not None and s.is_sparse else s for s in slopes]


def _batch_size(task: Task) -> int | None:
    if isinstance(task.train, DataLoader):
        return task.train.batch_size
    return task.batch_size


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def _values(placed: Placed) -> Tensor:
    return placed.point() if placed.parameters else torch.empty(0)


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """The leaf tensors that the graph of a loss ends in."""
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting.extend(following for following, _ in node.next_functions)
