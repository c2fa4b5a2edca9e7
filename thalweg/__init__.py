"""Finds out why gradient descent is stuck, shows the ground it stands on, and gets it out.

    import thalweg as tw

    task = tw.Task(model=model, loss=loss, train=(x, y), optimizer=optimizer, batch_size=64)
    finding = tw.diagnose(task)
    print(finding)
    tw.race(task, finding.cures)

Each name is loaded when it is first used, so that importing thalweg costs next to nothing.
"""

import importlib as _importlib
import sys as _sys
import types as _types
import typing as _typing

if _typing.TYPE_CHECKING:
    from thalweg import clinic, measure, show, theory
    from thalweg.diagnose.cause import Cause
    from thalweg.diagnose.cures import Cure
    from thalweg.diagnose.escape import escape
    from thalweg.diagnose.escape_result import Escape
    from thalweg.diagnose.finding import Finding
    from thalweg.diagnose.live import live_rules
    from thalweg.diagnose.race import race
    from thalweg.diagnose.race_result import Race
    from thalweg.diagnose.verdict import diagnose
    from thalweg.errors import ThalwegError
    from thalweg.estimate import Estimate
    from thalweg.objective import landscapes, noise
    from thalweg.objective.epochs import Epochs
    from thalweg.objective.smoothed import Smoothed
    from thalweg.objective.supervised import Supervised
    from thalweg.record.watch import watch
    from thalweg.run.descend import descend as run
    from thalweg.run.plan import Plan
    from thalweg.show.report import report
    from thalweg.task import Task
    from thalweg.trajectory import Trajectory

    __version__: str

__all__ = [
    "Cause",
    "Cure",
    "Epochs",
    "Escape",
    "Estimate",
    "Finding",
    "Plan",
    "Race",
    "Smoothed",
    "Supervised",
    "Task",
    "ThalwegError",
    "Trajectory",
    "__version__",
    "clinic",
    "diagnose",
    "escape",
    "landscapes",
    "live_rules",
    "measure",
    "noise",
    "race",
    "report",
    "run",
    "show",
    "theory",
    "watch",
]

_HOMES = {
    "Cause": "thalweg.diagnose.cause",
    "Cure": "thalweg.diagnose.cures",
    "Epochs": "thalweg.objective.epochs",
    "Escape": "thalweg.diagnose.escape_result",
    "Estimate": "thalweg.estimate",
    "Finding": "thalweg.diagnose.finding",
    "Plan": "thalweg.run.plan",
    "Race": "thalweg.diagnose.race_result",
    "Smoothed": "thalweg.objective.smoothed",
    "Supervised": "thalweg.objective.supervised",
    "Task": "thalweg.task",
    "ThalwegError": "thalweg.errors",
    "Trajectory": "thalweg.trajectory",
    "escape": "thalweg.diagnose.escape",
    "live_rules": "thalweg.diagnose.live",
    "race": "thalweg.diagnose.race",
    "report": "thalweg.show.report",
    "watch": "thalweg.record.watch",
}
"""The module that defines each public name."""

_NAMESPACES = {
    "clinic": "thalweg.clinic",
    "landscapes": "thalweg.objective.landscapes",
    "measure": "thalweg.measure",
    "noise": "thalweg.objective.noise",
    "show": "thalweg.show",
    "theory": "thalweg.theory",
}
"""Public names that are modules."""


def __getattr__(name: str) -> _typing.Any:
    if name in _HOMES:
        value = getattr(_importlib.import_module(_HOMES[name]), name)
    elif name in _NAMESPACES:
        value = _importlib.import_module(_NAMESPACES[name])
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("thalweg")
    except PackageNotFoundError:
        return "0+unknown"  # a source tree that nobody installed


class _Package(_types.ModuleType):
    """`run` and `diagnose` are functions, and there are packages of these names.

    Python binds a package to its name in the parent whenever it is first imported, and would so
    hide the function; a property of the parent's class does not let itself be hidden.
    """

    @property
    def diagnose(self) -> _typing.Any:
        from thalweg.diagnose.verdict import diagnose

        return diagnose

    @diagnose.setter
    def diagnose(self, package: _types.ModuleType) -> None:
        pass

    @property
    def run(self) -> _typing.Any:
        from thalweg.run.descend import descend

        return descend

    @run.setter
    def run(self, package: _types.ModuleType) -> None:
        pass


_sys.modules[__name__].__class__ = _Package
