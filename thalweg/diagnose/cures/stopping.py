"""Cures that stop, or lower the rate, by the held-out loss, and keep its best weights."""

import math
from typing import Any

from torch.optim import lr_scheduler

from thalweg.diagnose.cures.cure import Cure, Ground, whole
from thalweg.diagnose.cures.places import END, EPOCH
from thalweg.diagnose.cures.schedules import BEGIN, ENDS, begin
from thalweg.errors import UsageError
from thalweg.estimate import LOSS_COST
from thalweg.objective.examples import Examples
from thalweg.run.answers import State
from thalweg.run.training import Training

__all__ = ["decay_then_stop", "early_stopping"]

LOOK = (
    "model.eval()\n"
    "with torch.no_grad():\n"
    "    held = float(loss(model(held_out[0]), held_out[1]))\n"
    "model.train()\n"
    "waited += 1\n"
    "if held < best:\n"
    "    best, waited, kept = held, 0, copy.deepcopy(model.state_dict())\n"
)
"""What is seen after an epoch, as pasted."""

BEST = (
    "import copy\n"
    "model.eval()\n"
    "with torch.no_grad():\n"
    "    best = float(loss(model(held_out[0]), held_out[1]))\n"
    "model.train()\n"
    "waited, kept = 0, copy.deepcopy(model.state_dict())\n"
)
"""What is seen before the first: where the run stands may be the best that it comes to."""


class _Best:
    """The lowest held-out loss so far and its weights, which answer."""

    def __init__(self, training: Training, name: str) -> None:
        if training.task.test is None:
            raise UsageError(f"{name} needs the task's test data, but it has none")
        self.examples = Examples.of(training.task.test, name="test")
        self.loss, self.waited, self.state = math.inf, 0, training.state()
        self.stopped = False
        training.answers = self.answers
        self.look(training)
        self.waited = 0

    def answers(self) -> list[State]:
        return [self.state]

    def look(self, training: Training) -> float:
        """The held-out loss of the weights as trained, charged."""
        training.answers = None
        loss = training.evaluate(self.examples)
        training.answers = self.answers
        training.examples_seen += round(LOSS_COST * len(self.examples))
        self.waited += 1
        if loss < self.loss:
            self.loss, self.waited, self.state = loss, 0, training.state()
        return loss

    def stop(self, training: Training) -> None:
        """The weights stay from here on, whatever is still spent."""
        self.stopped = True
        training.schedule = None

        def rest(which: Training) -> None:
            for group in which.optimizer.param_groups:
                group["lr"] = 0.0

        training.before_update.append(rest)


def early_stopping(patience: int = 3) -> Cure:
    """Stops after ``patience`` epochs without a lower held-out loss, and keeps its best weights."""
    patience = whole("patience", patience)
    name = f"early_stopping {patience}"

    def change(training: Training, ground: Ground) -> None:
        best = _Best(training, name)

        def after(which: Training) -> None:
            if not best.stopped:
                best.look(which)
                if best.waited >= patience:
                    best.stop(which)

        training.after_epoch.append(after)

    return Cure(
        name,
        "Keeps the weights of the lowest held-out loss, and stops when it has ceased to fall.",
        BEST + EPOCH + LOOK + f"if waited >= {patience}:\n    break\n"
        f"{END}model.load_state_dict(kept)",
        change,
        "A forward pass over the held-out data an epoch; the loss that it is judged by has been "
        "chosen by, so it flatters.",
        "Prechelt, Early stopping - but when?, 1998",
        "stopping",
        decides=("answer",),
    )


LOWEST = 0.01
"""Share of the first rate at which decay ends."""


def decay_then_stop(patience: int = 2) -> Cure:
    """A third of the rate after ``patience`` epochs without a lower held-out loss, down to 1/100.

    It stops when at the lowest rate as many epochs more have passed.
    """
    patience = whole("patience", patience)
    name = f"decay_then_stop {patience}"

    def change(training: Training, ground: Ground) -> None:
        best = _Best(training, name)
        optimizer = begin(training)
        lowest = [LOWEST * group["lr"] for group in optimizer.param_groups]
        scheduler: Any = lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=1 / 3, patience=patience, min_lr=lowest
        )

        def after(which: Training) -> None:
            if best.stopped:
                return
            scheduler.step(best.look(which))
            low = all(g["lr"] <= r for g, r in zip(optimizer.param_groups, lowest, strict=True))
            if low and best.waited > patience:
                best.stop(which)

        training.after_epoch.append(after)

    return Cure(
        name,
        "Settles at lower and lower rates by the held-out loss, and stops when none helps any more.",
        BEST + BEGIN + f'lowest = [{LOWEST:g} * g["lr"] for g in optimizer.param_groups]\n'
        "scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(\n"
        f"    optimizer, factor=1 / 3, patience={patience}, min_lr=lowest)\n"
        + EPOCH
        + LOOK
        + "scheduler.step(held)\n"
        'low = all(g["lr"] <= r for g, r in zip(optimizer.param_groups, lowest))\n'
        f"if low and waited > {patience}:\n    break\n"
        f"{END}model.load_state_dict(kept)" + ENDS,
        change,
        "A forward pass over the held-out data an epoch; the loss that it is judged by has been "
        "chosen by, so it flatters.",
        "Goodfellow, Bengio and Courville, Deep learning, 2016, 7.8 and 11.4",
        "rate",
        decides=("schedule", "answer"),
    )
