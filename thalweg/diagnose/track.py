"""One run of one arm of a race: from the user's state, with looks at equal evaluations."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from thalweg.diagnose.cures import Cure, Ground
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.fingerprint import fingerprint, of_other_states, of_training
from thalweg.errors import FolderError, UsageError
from thalweg.estimate import LOSS_COST
from thalweg.objective.random_state import RandomState
from thalweg.run.fork import asks_for_closure
from thalweg.run.training import Training

__all__ = ["Ran", "Track"]


@dataclass(frozen=True)
class Ran:
    """What one run of an arm gave.

    ``losses`` and ``test_losses`` hold a number at each mark, NaN from where the run had diverged;
    ``cost`` counts steps and looks, in gradient evaluations over the training data. ``drew`` tells
    the random states of NumPy and Python that it began with, where it drew from them.
    """

    losses: tuple[float, ...]
    test_losses: tuple[float, ...]
    cost: float
    drew: str | None = None


class Track:
    """Runs arms of equal length; in a folder it keeps each that is finished.

    Attributes:
        length: gradient evaluations of an arm.
        evaluations: where its losses are looked at, 0 first.
        cost: gradient evaluations beside those of the runs, to tell one state from another.
    """

    def __init__(
        self, e: Examination, length: float, marks: int, folder: Path | str | None
    ) -> None:
        self.e, self.length = e, length
        self.evaluations = tuple(length * k / marks for k in range(marks + 1))
        self._file = None if folder is None else Path(folder) / "race.jsonl"
        self.cost = 0.0 if self._file is None else LOSS_COST * e.share
        self._state = "" if self._file is None else of_training(e)
        self._others = of_other_states(RandomState.now())
        self._finished = self._read()
        self._keep()

    def run(self, cure: Cure | None, seed: int, ground: Ground) -> Ran:
        """The run of an arm, or what a folder kept of it; without a cure, of the unchanged arm."""
        name = "unchanged" if cure is None else cure.name
        what = None if cure is None else fingerprint([cure.name, cure.code, cure.change])
        key = f"{name}|{seed}|{self.evaluations[-1]!r}|{len(self.evaluations)}|{self._state}|{what}"
        for drew in (None, self._others):
            if (key, drew) in self._finished:
                return self._finished[key, drew]
        ran = self._fresh(cure, seed, ground)
        self._finished[key, ran.drew] = ran
        self._keep(key, ran)
        return ran

    def _fresh(self, cure: Cure | None, seed: int, ground: Ground) -> Ran:
        e = self.e
        lent = e.objective.placed.restore
        training = Training.of(e.task, seed=seed or None, lent=lent)
        before = training.random_state
        losses, tests, looks = [], [], 0.0

        def look() -> None:
            nonlocal looks
            losses.append(_or_nan(e.objective.value(training.point())))
            looks += LOSS_COST * e.share
            if e.test is not None:
                tests.append(_or_nan(training.evaluate(e.test)))
                looks += LOSS_COST * len(e.test) / e.population

        look()
        try:
            if cure is not None and cure.change is not None:
                cure.change(training, ground)
            for goal in self.evaluations[1:]:
                if math.isfinite(losses[-1]) and self._advance(training, goal):
                    look()
                else:
                    losses.append(math.nan)
                    tests += [] if e.test is None else [math.nan]
        except (RuntimeError, ValueError) as error:
            if cure is None or isinstance(error, UsageError):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"cures must fit the training, but {cure.name} does not: {reason}"
            ) from error
        drew = seed == 0 and training.random_state.drew_elsewhere(before)
        cost = training.cost + looks
        return Ran(tuple(losses), tuple(tests), cost, self._others if drew else None)

    def _advance(self, training: Training, goal: float) -> bool:
        """Steps until ``goal`` evaluations are spent; a step that would pass it by half is left."""
        while training.cost < goal:
            step = (training.batch_size or self.e.batch_size) / self.e.population
            steps = int((goal - training.cost) / step + 0.5)
            if steps < 1:
                break
            if asks_for_closure(type(training.optimizer)):
                steps = 1  # of as many evaluations as its line search takes
            if not training.advance(steps):
                return False
        return True

    def _read(self) -> dict[tuple[str, str | None], Ran]:
        if self._file is None or not self._file.exists():
            return {}
        finished: dict[tuple[str, str | None], Ran] = {}
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise FolderError(f"{self._file} cannot be read: {error.strerror}") from error
        for line in lines:
            try:
                kept = json.loads(line)
                numbers = [
                    tuple(math.nan if v is None else float(v) for v in kept[key])
                    for key in ("losses", "test_losses")
                ]
                ran = Ran(numbers[0], numbers[1], float(kept["cost"]), kept["drew"])
                finished[kept["key"], ran.drew] = ran
            except (ValueError, KeyError, TypeError):
                continue  # the line that a kill tore
        return finished

    def _keep(self, key: str | None = None, ran: Ran | None = None) -> None:
        """Append a run; without one, say early that the folder cannot be written."""
        if self._file is None:
            return
        line = ""
        if ran is not None:
            plain = {
                name: [v if math.isfinite(v) else None for v in value]
                if isinstance(value, tuple)
                else value
                for name, value in asdict(ran).items()
            }
            line = json.dumps({"key": key, **plain}) + "\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            whole = not self._file.exists() or self._file.read_bytes()[-1:] in (b"", b"\n")
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line if whole else "\n" + line)
        except OSError as error:
            raise FolderError(
                f"{self._file.parent} cannot keep the race: {error.strerror}"
            ) from error


def _or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan
