"""One run of one arm of a race: from the user's state, with looks at equal evaluations."""

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from thalweg.diagnose.examination import Examination
from thalweg.errors import FolderError
from thalweg.estimate import LOSS_COST
from thalweg.run.training import Training

__all__ = ["Ran", "Track"]


@dataclass(frozen=True)
class Ran:
    """What one run of an arm gave.

    ``losses`` and ``test_losses`` hold a number at each mark, NaN once the run had diverged;
    ``cost`` counts steps and looks, in gradient evaluations over the training data.
    """

    losses: tuple[float, ...]
    test_losses: tuple[float, ...]
    cost: float


class Track:
    """Runs arms of equal length; in a folder it keeps each that is finished.

    Attributes:
        length: gradient evaluations of an arm.
        evaluations: where its losses are looked at, 0 first.
    """

    def __init__(
        self, e: Examination, length: float, marks: int, folder: Path | str | None
    ) -> None:
        self.e, self.length = e, length
        self.evaluations = tuple(length * k / marks for k in range(marks + 1))
        self._file = None if folder is None else Path(folder) / "race.jsonl"
        self._finished = self._read()

    def run(self, name: str, seed: int, change: Callable[[Training], None]) -> Ran:
        """The run of an arm, or what a folder kept of it."""
        key = f"{name}|{seed}|{self._fingerprint()}"
        if key not in self._finished:
            self._finished[key] = self._fresh(seed, change)
            self._keep(key, self._finished[key])
        return self._finished[key]

    def _fresh(self, seed: int, change: Callable[[Training], None]) -> Ran:
        e = self.e
        lent = e.objective.placed.restore
        training = Training.of(e.task, seed=seed or None, lent=lent)
        losses = [e.objective.value(training.point())]
        tests = [] if e.test is None else [training.evaluate(e.test)]
        change(training)
        for goal in self.evaluations[1:]:
            if math.isfinite(losses[-1]) and self._advance(training, goal):
                with torch.no_grad():
                    losses.append(e.objective.value(training.point()))
                if e.test is not None:
                    tests.append(training.evaluate(e.test))
            else:
                losses.append(math.nan)
                if e.test is not None:
                    tests.append(math.nan)
        looks = LOSS_COST * sum(map(math.isfinite, losses)) * e.share
        looks += (
            LOSS_COST
            * sum(map(math.isfinite, tests))
            * (len(e.test) if e.test else 0)
            / e.population
        )
        return Ran(tuple(losses), tuple(tests), training.cost + looks)

    def _advance(self, training: Training, goal: float) -> bool:
        """Steps until ``goal`` evaluations are spent; a step that would pass it by half is left."""
        while training.cost < goal:
            size = training.batch_size or self.e.batch_size
            if training.task.batch_size is None and training.batch_size is None:
                size = self.e.batch_size
            step = size / self.e.population
            steps = int((goal - training.cost) / step + 0.5)
            if steps < 1:
                break
            if not training.advance(steps):
                return False
        return True

    def _fingerprint(self) -> str:
        """Of state, data size and length: a folder's run of another state is not taken for this one."""
        state = zlib.crc32(self.e.point.detach().cpu().numpy().tobytes())
        rates = [group.get("lr") for group in self.e.task.optimizer.param_groups]
        return f"{state:08x}-{self.e.population}-{self.length:.6g}-{rates}"

    def _read(self) -> dict[str, Ran]:
        if self._file is None or not self._file.exists():
            return {}
        finished: dict[str, Ran] = {}
        for line in self._file.read_text().splitlines():
            try:
                kept = json.loads(line)
                numbers = [
                    tuple(math.nan if v is None else float(v) for v in kept[key])
                    for key in ("losses", "test_losses")
                ]
                finished[kept["key"]] = Ran(numbers[0], numbers[1], float(kept["cost"]))
            except (ValueError, KeyError, TypeError):
                continue  # the line that a kill tore
        return finished

    def _keep(self, key: str, ran: Ran) -> None:
        if self._file is None:
            return
        plain = {
            name: [v if math.isfinite(v) else None for v in value]
            if isinstance(value, tuple)
            else value
            for name, value in asdict(ran).items()
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            torn = self._file.exists() and not self._file.read_bytes().endswith(b"\n")
            with self._file.open("a") as file:
                file.write(("\n" if torn else "") + json.dumps({"key": key, **plain}) + "\n")
        except OSError as error:
            raise FolderError(
                f"{self._file.parent} cannot keep the race: {error.strerror}"
            ) from error
