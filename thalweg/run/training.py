"""A user's training as a state that can be forked and continued without touching the user's own."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from thalweg.objective.examples import Examples, batch_length
from thalweg.objective.random_state import RandomState, random_state
from thalweg.objective.reduction import Reduction
from thalweg.objective.supervised import Supervised
from thalweg.run.answers import State, ensemble_value, evaluating, flat, loss_of_states
from thalweg.run.copies import Copies
from thalweg.run.feed import Feed, on_device
from thalweg.run.fork import (
    Loan,
    asks_for_closure,
    backward_past,
    is_over,
    optimizer_over,
    population,
    strangers,
)
from thalweg.run.own_step import before_each_update, unharmed
from thalweg.task import Task

__all__ = ["Training"]


class Training:
    """The plain training loop of a Task, from where it stands, on objects of its own.

        for batch in loader:
            optimizer.zero_grad(); loss(batch).backward(); optimizer.step(); schedule.step()

    Made by :meth:`of`; it copies model, optimizer (with its state), schedule and random state. With
    the default seed it takes, bit for bit, the steps that the user's own loop would take from here;
    another seed changes the order of the data and the masks of dropout. Cures change ``optimizer``,
    ``batch_size``, ``model`` in place, or add to ``before_step`` and ``after_step`` (called before
    and after each step), to ``before_update`` (called between the backward pass and the optimizer's
    step), or to ``after_epoch`` (called when the data have been gone through).

    Attributes:
        model, optimizer, schedule, parts: the copies.
        examples_seen: by all steps so far; ``cost`` gives it in gradient evaluations.
        population: number of examples in the training data.
        losses: the mini-batch loss of every step taken.
        epoch_from: steps taken before the present epoch.
        batch, loss: of the present step.
        gradients_a_step: gradient evaluations of a batch that a step takes, 1 unless a cure says so.
        steps_of_twins: taken by :meth:`twin` forks.
        answers: gives the states whose predictions, averaged, are what the training has come to; None
            for the weights that are trained. Ask :meth:`answering`, which first ends an epoch that is
            over.
    """

    def __init__(
        self,
        task: Task,
        copies: Copies,
        state: RandomState,
        *,
        seed: int | None = None,
    ) -> None:
        lent = copies.lent
        model, optimizer = copies.model, copies.optimizer
        self.task = task
        self.model, self.optimizer, self.schedule = model, optimizer, copies.schedule
        self.parts = copies.parts
        self.batch_size = task.batch_size
        self.before_step: list[Callable[[Training], None]] = []
        self.after_step: list[Callable[[Training], None]] = []
        self.before_update: list[Callable[[Training], None]] = []
        self.after_epoch: list[Callable[[Training], None]] = []
        self.losses: list[float] = []
        self.epoch_from = 0
        self.examples_seen = 0
        self.batch: Any = None
        self.loss = torch.tensor(math.nan)
        self.gradients_a_step, self.steps_of_twins = 1.0, 0
        self.answers: Callable[[], list[State]] | None = None
        self.population = population(task)
        self._state, self._seed = state, seed
        # On loan: the user's own model, and what the optimizer holds besides the model.
        of_model = {id(p) for p in model.parameters()}
        held = [p for group in optimizer.param_groups for p in group["params"]]
        lent_parameters = [p for p in held if id(p) not in of_model]
        if lent:
            lent_parameters += list(model.parameters())
        self._lent = lent_parameters, list(model.modules()) if lent else []
        self._loan, self._hooks = Loan.of(*self._lent), copies.hooks
        self._others: list[Tensor] | None = None
        self._reduction: Reduction | None = None
        self._feed = Feed(task, seed)
        self._is_home = False

    @classmethod
    def of(cls, task: Task, *, seed: int | None = None, lent: bool = False) -> "Training":
        """A fork of the task's training.

        Args:
            seed: None for the run that the user would have had; else another data order.
            lent: train on the user's own model, whose values are put back after every
                :meth:`advance`: for a loss that reads the user's objects.
        """
        state = RandomState.now() if seed is None else RandomState.of_seed(seed)
        return cls(task, Copies.of(task, lent=lent), state, seed=seed)

    def twin(self) -> "Training":
        """Another fork of the same task and seed, at this one's weights and with its optimizer."""
        other = Training.of(self.task, seed=self._seed, lent=bool(self._lent[1]))
        other._state = self._state
        other.optimizer = optimizer_over(other.model, self.optimizer, self.model)
        other.batch_size = self.batch_size
        other.place(self.point())

        def counted(_: Training) -> None:
            self.steps_of_twins += 1

        other.after_step.append(counted)
        return other

    @property
    def cost(self) -> float:
        """Gradient evaluations over the training data that the steps so far took."""
        return self.examples_seen / self.population

    @property
    def random_state(self) -> RandomState:
        """The global random states that the next step draws from."""
        return self._state

    def advance(self, steps: int) -> bool:
        """Take ``steps`` steps; False as soon as a loss is not finite."""
        with self.at_home():
            for _ in range(steps):
                self._step(self._feed.next(self.batch_size, self._ended))
                if not math.isfinite(self.losses[-1]):
                    return False
        return True

    def point(self) -> Tensor:
        """The trainable parameters as one flat point."""
        with self.at_home():
            return torch.cat(
                [p.detach().reshape(-1) for p in self.model.parameters() if p.requires_grad]
            )

    def place(self, point: Tensor) -> None:
        """Set the trainable parameters to a flat point."""
        with self.at_home(), torch.no_grad():
            begin = 0
            for p in self.model.parameters():
                if p.requires_grad:
                    p.copy_(point[begin : begin + p.numel()].view(p.shape))
                    begin += p.numel()

    def state(self) -> State:
        """A copy of parameters and buffers."""
        with self.at_home():
            return {name: value.clone() for name, value in self.model.state_dict().items()}

    def answering(self) -> list[State] | None:
        """The states that answer; None for the weights that are trained."""
        if self.after_epoch:
            with self.at_home():
                self._feed.look_ahead(self._ended)
        return None if self.answers is None else self.answers()

    def value(self, objective: Supervised) -> float:
        """What an objective of the same model, decay included, is at the weights that answer."""
        states = self.answering()
        if states is None:
            return objective.value(self.point())
        return ensemble_value(objective, [flat(self.model, state) for state in states])

    def evaluate(self, examples: Examples, *, chunk: int = 1024) -> float:
        """Mean loss over the examples in evaluation mode, without weight decay, of what answers.

        A loss that sums over a batch is taken for a batch of the training's size.
        """
        total, states = 0.0, self.answering()
        with self.at_home(), torch.no_grad(), random_state(0), evaluating(self.model):
            answer = self._loss
            if states is not None:
                answer = loss_of_states(self.model, states, self.task.loss, self._loss)
            if self._reduction is None:
                self._reduction = Reduction.of(self._value, examples.fetch(slice(0, 4)))
            for batch, length in examples.chunks(chunk):
                loss = self._reduction.mean(answer, on_device(batch, self.model), self._unit())
                total += float(loss) * length
        return total / len(examples)

    def _value(self, batch: Any, seed: int) -> float:
        with random_state(seed):
            batch = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, batch)
            return float(self._loss(on_device(batch, self.model)))

    def _unit(self) -> int:
        train = self.task.train
        size = self.task.batch_size or getattr(train, "batch_size", None)
        size = size or getattr(getattr(train, "batch_sampler", None), "batch_size", None)
        return int(size or self.population)

    def rebuild(self, make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]) -> None:
        """Replace the optimizer by what ``make`` gives for its groups, with their rate and decay.

        The schedule belonged to the old one and ends.
        """
        kept = ("params", "lr", "weight_decay")
        groups = [{k: g[k] for k in kept if k in g} for g in self.optimizer.param_groups]
        self.optimizer = make(groups)
        self.schedule = None

    def go_on_with(self, train: Any, batch_size: int | None) -> None:
        """Take the next batches from other examples, or in another order; an epoch begins."""
        self.task = replace(self.task, train=train, batch_size=batch_size)
        self.batch_size, self._feed = batch_size, Feed(self.task, self._seed)

    def _step(self, batch: Any) -> None:
        for change in self.before_step:
            change(self)
        self.batch = on_device(batch, self.model)

        def closure() -> Tensor:
            loss = self.differentiate()
            for change in self.before_update:
                change(self)
            return loss

        if self.task.step is not None:
            loss = self._users_step()
        elif asks_for_closure(type(self.optimizer)):
            loss = self.optimizer.step(closure)  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            loss = closure()
            self.optimizer.step()
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(float(loss.detach()))
        elif self.schedule is not None and not is_over(self.schedule):
            self.schedule.step()
        self.losses.append(float(loss.detach()))
        for change in self.after_step:
            change(self)

    def _users_step(self) -> Tensor:
        assert self.task.step is not None

        def before_update() -> None:
            for change in self.before_update:
                change(self)

        with ExitStack() as stack:
            stack.enter_context(before_each_update(self.optimizer, before_update))
            if not self.losses and self.model is not self.task.model:
                stack.enter_context(unharmed(self.task.model, self.task.optimizer))
            loss = self.task.step(self.model, self.batch, self.optimizer, **self.parts)
        self.examples_seen += batch_length(self.batch)
        self.loss = torch.as_tensor(loss).detach()
        return self.loss

    def differentiate(self) -> Tensor:
        """The loss of the present batch, and its gradient in the place of any before; charged."""
        self.optimizer.zero_grad()
        loss = self._loss(self.batch)
        if loss.requires_grad:
            if self._others is None:
                self._others = strangers(loss, [*self.model.parameters(), *self._lent[0]])
            backward_past(loss, self._others)
        self.examples_seen += batch_length(self.batch)
        self.loss = loss.detach()
        return loss

    def _loss(self, batch: Any) -> Tensor:
        if self.task.batch_loss is not None:
            return self.task.batch_loss(self.model, batch)
        assert self.task.loss is not None
        return self.task.loss(self.model(batch[0]), batch[1])

    def _ended(self) -> None:
        for change in self.after_epoch:
            change(self)
        self.epoch_from = len(self.losses)

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """The fork's own random state, and its own values of what is on loan."""
        if self._is_home:
            yield
            return
        outside = RandomState.now()
        users = Loan.of(*self._lent)
        self._state.restore()
        self._loan.put(share=False)
        self._is_home = True
        try:
            with self._hooks.at_work():
                yield
        finally:
            self._is_home = False
            self._state = RandomState.now()
            outside.restore()
            self._loan = Loan.of(*self._lent)
            users.put(share=True)
