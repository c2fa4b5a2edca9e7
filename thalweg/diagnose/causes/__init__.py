"""One rule a file: a pure function of Evidence that names a Cause with a probability, or does not."""

from collections.abc import Callable

from thalweg.diagnose.causes.cannot_fit import cannot_fit
from thalweg.diagnose.causes.diverging import diverging
from thalweg.diagnose.causes.edge_of_stability import edge_of_stability
from thalweg.diagnose.causes.healthy import healthy
from thalweg.diagnose.causes.local_minimum import local_minimum
from thalweg.diagnose.causes.minimum import minimum
from thalweg.diagnose.causes.miswired import miswired
from thalweg.diagnose.causes.noise_floor import noise_floor
from thalweg.diagnose.causes.not_finite import not_finite
from thalweg.diagnose.causes.overfitting import overfitting
from thalweg.diagnose.causes.plateau import plateau
from thalweg.diagnose.causes.ravine import ravine
from thalweg.diagnose.causes.saddle import saddle
from thalweg.diagnose.causes.spikes import spikes
from thalweg.diagnose.causes.step_too_small import step_too_small
from thalweg.diagnose.finding import Finding
from thalweg.estimate import Evidence

__all__ = ["RULES"]

RULES: tuple[Callable[[Evidence], Finding | None], ...] = (
    healthy,
    miswired,
    not_finite,
    diverging,
    edge_of_stability,
    step_too_small,
    noise_floor,
    spikes,
    saddle,
    plateau,
    ravine,
    local_minimum,
    minimum,
    overfitting,
    cannot_fit,
)
"""Every rule, in the order in which the causes are told; the most probable one is the verdict."""
