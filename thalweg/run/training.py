"""A user's training as a state that can be forked and continued without touching the user's own."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader

from thalweg.errors import DataError, ModelError
from thalweg.objective.batches import as_batches
from thalweg.objective.examples import Examples, batch_length
from thalweg.run.random_state import RandomState
from thalweg.task import Task

__all__ = ["Training"]


class Training:
    """The plain training loop of a Task, from where it stands, on objects of its own.

        for batch in loader:
            optimizer.zero_grad(); loss(batch).backward(); optimizer.step(); schedule.step()

    Made by :meth:`of`; it copies model, optimizer (with its state), schedule and random state. With
    the default seed it takes, bit for bit, the steps that the user's own loop would take from here;
    another seed changes the order of the data and the masks of dropout. Cures change ``optimizer``,
    ``batch_size``, ``model`` in place, or add to ``before_step`` (called before each step) and
    ``before_update`` (called between the backward pass and the optimizer's step).

    Attributes:
        model, optimizer, schedule: the copies.
        examples_seen: by all steps so far; ``cost`` gives it in gradient evaluations.
        population: number of examples in the training data.
        losses: the mini-batch loss of every step taken.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        state: RandomState,
        *,
        lent: bool,
    ) -> None:
        self.task = task
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.batch_size = task.batch_size
        self.before_step: list[Callable[[Training], None]] = []
        self.before_update: list[Callable[[Training], None]] = []
        self.losses: list[float] = []
        self.examples_seen = 0
        self.population = population(task.train)
        self._state = state
        self._lent = lent
        self._values = _State.of(model) if lent else None
        self._loader: Any = None
        self._iterator: Iterator[Any] | None = None

    @classmethod
    def of(cls, task: Task, *, seed: int | None = None, lent: bool = False) -> "Training":
        """A fork of the task's training.

        Args:
            seed: None for the run that the user would have had; else another data order.
            lent: train on the user's own model, whose values are put back after every
                :meth:`advance`: for a loss that reads the user's objects.
        """
        state = RandomState.now() if seed is None else RandomState.of_seed(seed)
        if lent:
            memo: dict[int, Any] = {id(p): p for p in task.model.parameters()}
            optimizer = copy.deepcopy(task.optimizer, memo)
            model = task.model
        else:
            memo = {}
            try:
                model = copy.deepcopy(task.model, memo)
            except (RuntimeError, TypeError) as error:
                raise ModelError(
                    f"model must allow copy.deepcopy, but it fails: {error}"
                ) from error
            optimizer = copy.deepcopy(task.optimizer, memo)
        memo[id(task.optimizer)] = optimizer
        return cls(task, model, optimizer, copy.deepcopy(task.schedule, memo), state, lent=lent)

    @property
    def cost(self) -> float:
        """Gradient evaluations over the training data that the steps so far took."""
        return self.examples_seen / self.population

    def advance(self, steps: int) -> bool:
        """Take ``steps`` steps; False as soon as a loss is not finite."""
        with self._at_home():
            for _ in range(steps):
                self._step(self._next_batch())
                if not math.isfinite(self.losses[-1]):
                    return False
        return True

    def point(self) -> Tensor:
        """The trainable parameters as one flat point."""
        with self._at_home():
            return torch.cat(
                [p.detach().reshape(-1) for p in self.model.parameters() if p.requires_grad]
            )

    def place(self, point: Tensor) -> None:
        """Set the trainable parameters to a flat point."""
        with self._at_home(), torch.no_grad():
            begin = 0
            for p in self.model.parameters():
                if p.requires_grad:
                    p.copy_(point[begin : begin + p.numel()].view(p.shape))
                    begin += p.numel()

    def evaluate(self, examples: Examples, *, chunk: int = 1024) -> float:
        """Mean loss over the examples in evaluation mode, without weight decay."""
        modes = [(m, m.training) for m in self.model.modules()]
        total = 0.0
        with self._at_home(), torch.no_grad():
            self.model.eval()
            try:
                for batch, length in examples.chunks(chunk):
                    total += float(self._loss(_on_device(batch, self.model))) * length
            finally:
                for module, training in modes:
                    module.training = training
        return total / len(examples)

    def rebuild(self, make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]) -> None:
        """Replace the optimizer by what ``make`` gives for its groups, with their rate and decay.

        The schedule belonged to the old one and ends.
        """
        kept = ("params", "lr", "weight_decay")
        groups = [{k: g[k] for k in kept if k in g} for g in self.optimizer.param_groups]
        self.optimizer = make(groups)
        self.schedule = None

    def _step(self, batch: Any) -> None:
        for change in self.before_step:
            change(self)
        batch = _on_device(batch, self.model)

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = self._loss(batch)
            if loss.requires_grad:
                loss.backward()
            self.examples_seen += batch_length(batch)
            for change in self.before_update:
                change(self)
            return loss

        if isinstance(self.optimizer, torch.optim.LBFGS):
            loss = self.optimizer.step(closure)
        else:
            loss = closure()
            self.optimizer.step()
        if self.schedule is not None:
            if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                self.schedule.step(float(loss))
            else:
                self.schedule.step()
        self.losses.append(float(loss.detach()))

    def _loss(self, batch: Any) -> Tensor:
        if self.task.batch_loss is not None:
            return self.task.batch_loss(self.model, batch)
        assert self.task.loss is not None
        return self.task.loss(self.model(batch[0]), batch[1])

    def _next_batch(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._batches())
        try:
            return next(self._iterator)
        except StopIteration:
            self._iterator = iter(self._batches())
        try:
            return next(self._iterator)
        except StopIteration:
            raise DataError(
                "train must give at least one batch, but its loader gives none"
            ) from None

    def _batches(self) -> Any:
        task = self.task
        if self.batch_size == task.batch_size:
            if self._loader is None:
                self._loader = _private(as_batches(task.train, task.batch_size))
            return self._loader
        train = task.train
        if isinstance(train, DataLoader):
            kind = {"collate_fn": train.collate_fn, "drop_last": train.drop_last}
            return DataLoader(train.dataset, batch_size=self.batch_size, shuffle=True, **kind)
        return as_batches(train, self.batch_size)

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        """The fork's own random state, and its own values where the model is lent."""
        outside = RandomState.now()
        users = _State.of(self.model) if self._lent else None
        self._state.restore()
        if self._values is not None:
            self._values.put(self.model)
        try:
            yield
        finally:
            self._state = RandomState.now()
            outside.restore()
            if users is not None:
                self._values = _State.of(self.model)
                users.put(self.model, share=True)


@dataclass(frozen=True)
class _State:
    """Everything of a model that training changes, by reference or by copy."""

    data: list[Tensor]
    grads: list[Tensor | None]
    buffers: list[tuple[nn.Module, str, Tensor | None]]
    modes: list[tuple[nn.Module, bool]]

    @classmethod
    def of(cls, model: nn.Module) -> "_State":
        return cls(
            [p.data for p in model.parameters()],
            [p.grad for p in model.parameters()],
            [(m, name, b) for m in model.modules() for name, b in m._buffers.items()],
            [(m, m.training) for m in model.modules()],
        )

    def put(self, model: nn.Module, *, share: bool = False) -> None:
        for p, data, grad in zip(model.parameters(), self.data, self.grads, strict=True):
            p.data = data if share else data.clone()
            p.grad = grad if share or grad is None else grad.clone()
        for module, name, buffer in self.buffers:
            module._buffers[name] = buffer if share or buffer is None else buffer.clone()
        for module, training in self.modes:
            module.training = training


def population(train: Any) -> int:
    """Number of examples in training data of any form."""
    if isinstance(train, DataLoader) and hasattr(train.dataset, "__len__"):
        return len(train.dataset)  # pyright: ignore[reportArgumentType]
    return Examples.of(train).population


def _private(loader: Any) -> Any:
    """A loader whose own generator, if it has one, can be advanced without touching the user's."""
    if not isinstance(loader, DataLoader):
        return loader
    generators = {}
    for holder in (loader, loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            twin = torch.Generator(generator.device)
            twin.set_state(generator.get_state())
            generators[id(generator)] = twin
    if not generators:
        return loader
    memo: dict[int, Any] = dict(generators)
    memo[id(loader.dataset)] = loader.dataset
    return copy.deepcopy(loader, memo)


def _on_device(batch: Any, model: nn.Module) -> Any:
    device = next(model.parameters()).device
    if device.type == "cpu":
        return batch
    return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, batch)
