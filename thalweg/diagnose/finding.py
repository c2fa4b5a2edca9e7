"""What a diagnosis says: a Finding, the mechanisms beside it, the Evidence under it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.cures import Cure, cure_named
from thalweg.errors import FolderError
from thalweg.estimate import Curve, Estimate, Evidence

__all__ = ["Finding", "Mechanism"]

CONFIDENT = 0.8
"""Above this a verdict is called confident; a confident wrong one is the worst bug there is."""


@dataclass(frozen=True)
class Mechanism:
    """Something in the model, the data or the wiring that was seen beside the cause.

    ``line`` is the line of code or the change that mends it; ``explains`` is the Cause that it is
    by itself enough for, if any.
    """

    name: str
    sentence: str
    line: str = ""
    explains: Cause | None = None


@dataclass(frozen=True)
class Finding:
    """The verdict on one state of one training.

    Attributes:
        cause: what holds the run back, or ``healthy``.
        sentence: the same in one plain sentence, with the numbers that decided.
        confidence: between 0 and 1; how often a verdict with these margins is right.
        relied_on: names of the Estimates that the rule used.
        evidence: every Estimate that was measured, and the curves.
        mechanisms: what else was seen.
        findings: the other causes that fit, ranked behind this one.
        cures: what to change, in the order to try.
        cost: gradient evaluations over the training data that the diagnosis spent.
        notes: what the reader must know about how this was measured (a subsample, no curvature, ...).
        name: of the task.
    """

    cause: Cause
    sentence: str
    confidence: float
    relied_on: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    mechanisms: tuple[Mechanism, ...] = ()
    findings: tuple["Finding", ...] = ()
    cures: tuple[Cure, ...] = ()
    cost: float = 0.0
    notes: tuple[str, ...] = ()
    name: str = "task"

    def __str__(self) -> str:
        from thalweg.show.text import plain_finding  # shows itself, but only when asked

        return plain_finding(self)

    def _repr_html_(self) -> str:
        from thalweg.show.notebook import notebook_finding

        return notebook_finding(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: not-finite numbers become None."""
        return {
            "name": self.name,
            "cause": self.cause.value,
            "sentence": self.sentence,
            "confidence": self.confidence,
            "mechanisms": [
                {
                    "name": m.name,
                    "sentence": m.sentence,
                    "line": m.line,
                    "explains": None if m.explains is None else m.explains.value,
                }
                for m in self.mechanisms
            ],
            "evidence": {
                name: {
                    "value": _plain(e.value),
                    "error": _plain(e.error),
                    "unit": e.unit,
                    "cost": _plain(e.cost),
                }
                for name, e in self.evidence.items()
            },
            "findings": [
                {"cause": f.cause.value, "sentence": f.sentence, "confidence": f.confidence}
                for f in self.findings
            ],
            "cures": [
                {name: getattr(c, name) for name in ("name", "summary", "costs", "source", "code")}
                for c in self.cures
            ],
            "cost": self.cost,
            "notes": list(self.notes),
            "relied_on": list(self.relied_on),
            "curves": {
                name: {
                    "x": [_plain(v) for v in curve.x],
                    "y": [_plain(v) for v in curve.y],
                    "x_name": curve.x_name,
                    "y_name": curve.y_name,
                }
                for name, curve in self.evidence.curves.items()
            },
        }

    def save(self, path: Path | str) -> Path:
        """Write :meth:`to_dict` as JSON."""
        path = Path(path)
        path.write_text(json.dumps(self.to_dict(), indent=1))
        return path

    @classmethod
    def load(cls, path: Path | str) -> "Finding":
        """Read what :meth:`save` wrote. Raises FolderError where it is no such file."""
        try:
            data = json.loads(Path(path).read_text())
            return cls.from_dict(data)
        except KeyError as error:
            raise FolderError(f"{path} cannot be read as a finding: it has no {error}") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FolderError(f"{path} cannot be read as a finding: {error}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Finding":
        """The inverse of :meth:`to_dict`; a cure that this version does not know is left out."""
        estimates = {
            name: Estimate(_number(e["value"]), _number(e["error"]), e["unit"], _number(e["cost"]))
            for name, e in data["evidence"].items()
        }
        curves = {
            name: Curve(
                tuple(_number(v) for v in c["x"]),
                tuple(_number(v) for v in c["y"]),
                c["x_name"],
                c["y_name"],
            )
            for name, c in data.get("curves", {}).items()
        }
        cures = (cure_named(c["name"]) for c in data["cures"])
        return cls(
            cause=Cause(data["cause"]),
            sentence=data["sentence"],
            confidence=data["confidence"],
            relied_on=tuple(data.get("relied_on", ())),
            evidence=Evidence(estimates, curves),
            mechanisms=tuple(
                Mechanism(
                    m["name"],
                    m["sentence"],
                    m["line"],
                    None if m["explains"] is None else Cause(m["explains"]),
                )
                for m in data["mechanisms"]
            ),
            findings=tuple(
                cls(Cause(f["cause"]), f["sentence"], f["confidence"]) for f in data["findings"]
            ),
            cures=tuple(cure for cure in cures if cure is not None),
            cost=data["cost"],
            notes=tuple(data.get("notes", ())),
            name=data.get("name", "task"),
        )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
