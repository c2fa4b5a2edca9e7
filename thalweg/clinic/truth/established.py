"""Cause -> what must hold of a case that claims it."""

from collections.abc import Callable

from thalweg.clinic.entry import Case
from thalweg.clinic.truth import ground, motion
from thalweg.clinic.truth.check import Check
from thalweg.diagnose.cause import Cause
from thalweg.task import Task

__all__ = ["established"]

JUDGES: dict[Cause, Callable[[Case, Task, int], list[Check]]] = {
    Cause.HEALTHY: motion.healthy,
    Cause.MISWIRED: motion.miswired,
    Cause.NOT_FINITE: motion.not_finite,
    Cause.DIVERGING: motion.diverging,
    Cause.EDGE_OF_STABILITY: motion.edge_of_stability,
    Cause.STEP_TOO_SMALL: motion.step_too_small,
    Cause.NOISE_FLOOR: motion.noise_floor,
    Cause.SPIKES: motion.spikes,
    Cause.SADDLE: ground.saddle,
    Cause.PLATEAU: ground.plateau,
    Cause.RAVINE: motion.ravine,
    Cause.LOCAL_MINIMUM: ground.local_minimum,
    Cause.MINIMUM: ground.minimum,
    Cause.OVERFITTING: motion.overfitting,
    Cause.CANNOT_FIT: ground.cannot_fit,
}


def established(case: Case, seed: int = 0) -> tuple[Check, ...]:
    """The experiments on one instance of the case; its cause is the true one if all checks hold."""
    return tuple(JUDGES[case.cause](case, case.make(seed), seed))
