"""The winner of a race, gone on with on copies, and its weights saved."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from thalweg.diagnose.examination import Examination
from thalweg.diagnose.race_result import Applied, Race
from thalweg.diagnose.track import Leg, begun, gone_on, look
from thalweg.errors import FolderError
from thalweg.record.checkpoint import WEIGHTS
from thalweg.record.folder import RunFolder
from thalweg.record.weights import write_weights
from thalweg.run.training import Training

__all__ = ["applied", "check_free"]

RACE = "race.json"


def check_free(path: Path) -> None:
    """Refuse a folder that could not take the run, before the race is run.

    Raises:
        FolderError: it holds a run, or cannot be written.
    """
    if RunFolder.is_run(path):
        raise FolderError(f"apply must be a folder without a run, but {path} holds one")
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for folder in new:  # made to see that it can be: a race without a winner leaves none behind
            folder.rmdir()
    except OSError as error:
        raise FolderError(f"apply {path} cannot be written: {error.strerror}") from error


def applied(race: Race, leg: Leg, path: Path, task_reference: str | None) -> Race:
    """The race with its winner gone on with for as long as its arm, from the user's own state.

    ``path`` becomes a run folder: the loss of every step, checkpoints of where it stood and of where
    it came to, and ``race.json``. What answers in place of the trained weights, as an average of
    weights does, is what is saved; of several states that answer together each is in ``answers/``.
    """
    e = leg.examination or Examination.of(leg.task, budget=math.inf)
    assert leg.cure is not None
    training = begun(leg, e)
    folder = RunFolder.create(
        path, task_reference=task_reference, name=race.name, facts={"cure": leg.cure.name}
    )
    try:
        _checkpoint(folder, 0, leg, e)
        rates = _kept_rates(training)
        gone_on(leg, training, e)
        loss, test, cost = look(training, e)
        steps = len(training.losses)
        folder.append_block(range(1, steps + 1), {"loss": training.losses, "learning_rate": rates})
        weights = _save(folder, steps, training)
        folder.close()
        done = Applied(
            path,
            weights,
            leg.cure.name,
            leg.cure.code,
            steps,
            leg.evaluations[-1],
            leg.start,
            (loss, test),
            training.cost + cost,
        )
        race = replace(race, applied=done, cost=race.cost + done.cost)
        folder.write(RACE, json.dumps(race.to_dict(), indent=1, allow_nan=False))
    except OSError as error:
        raise FolderError(f"{path} cannot keep the run: {error.strerror or error}") from error
    return race


def _kept_rates(training: Training) -> list[float]:
    rates: list[float] = []
    training.before_step.append(
        lambda which: rates.append(float(which.optimizer.param_groups[0]["lr"]))
    )
    return rates


def _checkpoint(folder: RunFolder, step: int, leg: Leg, e: Examination) -> None:
    """Of where the user's training stands."""
    _save(folder, step, begun(replace(leg, cure=None), e))


def _save(folder: RunFolder, step: int, training: Training) -> Path:
    """Where what answers is."""
    states = training.answering() or []
    schedule: Any = training.schedule if hasattr(training.schedule, "state_dict") else None
    with training.at_home():
        trained = training.state()
        if len(states) == 1:
            training.model.load_state_dict(states[0])
        try:
            folder.save_checkpoint(
                step,
                training.model,
                training.optimizer,
                schedule,
                random_state=training.random_state,
            )
        finally:
            training.model.load_state_dict(trained)
    if len(states) < 2:
        return folder.checkpoint_path(step) / WEIGHTS
    together = folder.path / "answers"
    together.mkdir(exist_ok=True)
    for place, state in enumerate(states):
        write_weights(together / f"{place:02d}.safetensors", state)
    return together
