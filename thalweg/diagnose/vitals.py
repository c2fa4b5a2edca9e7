"""The vital signs: Evidence bought for a budget, cheapest and most telling first."""

import math

from torch import Tensor

from thalweg.diagnose.arms import take_continuation
from thalweg.diagnose.examination import Examination, plain_history
from thalweg.diagnose.ground import take_drops, take_eigenvalues, take_noise, take_stability
from thalweg.diagnose.history import history_evidence
from thalweg.diagnose.probes import CLEAR, escape, nudge
from thalweg.diagnose.sampling import population_fall
from thalweg.diagnose.thresholds import REACH, STILL
from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.descent import descend_from
from thalweg.measure.steps import loss_and_error
from thalweg.objective.derivatives import Hessian, value_and_gradient
from thalweg.objective.inner_product import length

__all__ = ["stands_still", "take_vitals"]

NEARLY = 6 * STILL
"""Falls of such a share of the range, as far as it is known, may be none of the whole: a nudge tells."""


def take_vitals(e: Examination, *, constant: Estimate, probe: float = 0.0) -> None:
    """Measure the loss, the curvature, the noise, the drops and the continuation, in that order.

    Args:
        e: the examination; Estimates, falls and curves are added to it.
        constant: loss of the best constant predictor, or NaN.
        probe: gradient evaluations, beside the budget, for the escape probe; 0 switches it off.
    """
    slope = _loss(e, constant)
    if not all(map(math.isfinite, (e.estimates["loss"].value, length(slope)))):
        return
    history_evidence(e, plain_history(e.task.history))
    hessian = Hessian(e.objective, e.point)
    take_eigenvalues(e, hessian)
    take_noise(e, hessian, slope)
    take_stability(e, hessian)
    take_drops(e, hessian, slope)
    take_continuation(e)
    e.tick("descent from here")
    evaluations = int(max(10, min(30, e.left / e.share / 3)))
    descent = descend_from(e.objective, e.point, evaluations=evaluations)
    fall = e.estimates["loss"].value - descent.loss.value
    found = Estimate(fall, descent.loss.error, "loss", float(evaluations))
    found = population_fall(e, found, descent.point)
    e.add_fall("descent_fall", found.value, found.error, found.cost * e.share)
    if stands_still(e, most=NEARLY):
        e.tick("a nudge, then descent")
        nudge(e, evaluations=int(max(10, min(25, e.left / e.share / 2))))
        nudged = e.falls["nudge_fall"].value > CLEAR * e.scale().value
        _say_what_it_took(e)
        if probe > 0 and stands_still(e) and not nudged:
            escape(e, budget=probe, scale=e.scale().value)
    else:
        _say_what_it_took(e)
    if not hessian.exact:
        e.notes.append(
            "an operation of the model has no second derivative: curvature was taken by central "
            "differences of the gradient"
        )


def _say_what_it_took(e: Examination) -> None:
    if e.spent > 1.5 * e.budget:
        e.notes.append(
            f"it took {e.spent:.3g} gradient evaluations over the data, more than its budget of "
            f"{e.budget:.3g}: a diagnosis is not had for less"
        )


def stands_still(e: Examination, most: float = STILL) -> bool:
    """Whether the run goes nowhere, and no slope, rate or descent promises ``most`` of the range."""
    scale = e.scale().value

    def small(names: tuple[str, ...]) -> bool:
        return all(e.falls[n].value < most * scale for n in names if n in e.falls)

    level = e.falls["gradient_reach"].value < REACH * scale or small(
        ("gradient_drop", "krylov_drop")
    )
    arms = small(("unchanged_fall", "lower_rate_fall"))
    return arms and (level or small(("raised_rate_fall", "descent_fall")))


def _loss(e: Examination, constant: Estimate) -> Tensor:
    e.tick("loss and gradient")
    e.add("loss", loss_and_error(e.objective, e.point))
    e.add("constant_loss", constant)
    parts = e.objective.on(
        e.objective.data, chunk=max(1, e.objective.data.length // 16), decay=False
    )
    losses, weights = parts.chunk_losses(e.point)
    plain = float((weights * losses).sum() / weights.sum())
    spread = math.sqrt(float((weights * (losses - plain) ** 2).sum()) / max(1, len(losses) - 1))
    e.add("loss_spread", Estimate(spread, 0.0, "loss", LOSS_COST))
    e.add("plain_loss", Estimate(plain, spread, "loss"))
    if math.isfinite(constant.value) and constant.value > 0 and plain >= 0:
        e.add("explained", Estimate(1 - plain / constant.value, spread / constant.value))
    if math.isfinite(constant.value):
        e.add_fall("above_constant", plain - constant.value, spread, 0.0)
    _, slope = value_and_gradient(e.objective, e.point)
    e.add("gradient_norm", Estimate(length(slope), 0.0, "loss per unit", 1.0))
    if e.test is not None:
        held_out = e.training().evaluate(e.test)
        e.add("test_loss", Estimate(held_out, _sampling_error(e), "loss", LOSS_COST))
    return slope


def _sampling_error(e: Examination) -> float:
    """Standard error of the held-out loss over its examples, from chunks of a sixteenth."""
    assert e.test is not None
    chunk = max(1, len(e.test) // 16)
    parts = e.objective.on(e.test, chunk=chunk, decay=False)
    losses, weights = parts.chunk_losses(e.point)
    mean = (weights * losses).sum() / weights.sum()
    return math.sqrt(float((weights * (losses - mean) ** 2).sum()) / max(1, len(losses) - 1))
