"""The vital signs: Evidence bought for a budget, cheapest and most telling first."""

import math

import torch
from torch import Tensor

from thalweg.diagnose.continuation import continued
from thalweg.diagnose.examination import Examination, fan_in_scales, plain_history
from thalweg.diagnose.history import history_evidence, jumps
from thalweg.diagnose.probes import escape, nudge
from thalweg.diagnose.thresholds import STILL
from thalweg.estimate import LOSS_COST, PRODUCT_COST, Curve, Estimate
from thalweg.measure.curvature import Lanczos, Scaled, extreme_eigenvalues
from thalweg.measure.descent import descend_from
from thalweg.measure.gradient_noise import gradient_noise
from thalweg.measure.steps import krylov_step, largest_drop, loss_and_error, predicted_change
from thalweg.objective.derivatives import Hessian, value_and_gradient
from thalweg.run.view import OptimizerView

__all__ = ["loss_range", "stands_still", "take_vitals"]

RAISE_TO = 0.3
"""Stability to which the raised arm of the continuation lifts the rate: well inside the limit, as
curvature grows while the loss falls."""

STEPS = (20, 400)
"""Fewest and most steps of a continuation."""

ARM = 0.1
"""Share of the budget for each arm of the continuation."""


def take_vitals(e: Examination, *, constant: Estimate, probe: float = 0.0) -> None:
    """Measure the loss, the curvature, the noise, the drops and the continuation, in that order.

    Args:
        e: the examination; Estimates, falls and curves are added to it.
        constant: loss of the best constant predictor, or NaN.
        probe: gradient evaluations, beside the budget, for the escape probe; 0 switches it off.
    """
    slope = _loss(e, constant)
    if not all(map(math.isfinite, (e.estimates["loss"].value, float(slope.norm())))):
        return
    history_evidence(e, plain_history(e.task.history))
    hessian = Hessian(e.objective, e.point)
    _eigenvalues(e, hessian)
    _noise(e, hessian, slope)
    _stability(e, hessian)
    _drops(e, hessian, slope)
    _continuation(e)
    e.tick("descent from here")
    evaluations = int(max(10, min(30, e.left / e.share / 3)))
    descent = descend_from(e.objective, e.point, evaluations=evaluations)
    start = e.estimates["loss"].value
    cost = evaluations * e.share
    e.add_fall("descent_fall", start - descent.loss.value, descent.loss.error, cost)
    if stands_still(e):
        e.tick("a nudge, then descent")
        nudge(e, evaluations=int(max(10, min(25, e.left / e.share / 2))))
        if probe > 0 and e.falls["nudge_fall"].value < STILL * loss_range(e).value:
            escape(e, budget=probe, scale=loss_range(e).value)
    if not hessian.exact:
        e.notes.append(
            "an operation of the model has no second derivative: curvature was taken by central "
            "differences of the gradient"
        )


def stands_still(e: Examination) -> bool:
    """Whether neither the run, at any rate, nor descent from here falls by a share worth having."""
    scale = loss_range(e).value
    names = ("unchanged_fall", "lower_rate_fall", "raised_rate_fall", "descent_fall")
    falls = [e.falls[name].value for name in names if name in e.falls]
    return max(falls, default=0.0) < STILL * scale


def loss_range(e: Examination) -> Estimate:
    """The unit in which falls are told: from the top to the lowest loss known.

    The top is the best constant predictor's loss, or the start of the history where there is none,
    or the loss itself. It is at least the standard error of the loss over its examples, below
    which no fall means anything. Adding a constant to the loss changes nothing.
    """
    start = e.estimates["loss"].value
    tops = [start]
    for name in ("constant_loss", "history_start"):
        if name in e.estimates and math.isfinite(e.estimates[name].value):
            tops.append(e.estimates[name].value)
            break
    falls = [f.value for name, f in e.falls.items() if name.endswith(("_fall", "_drop"))]
    falls = [fall for fall in falls if math.isfinite(fall) and fall > 0]
    bottom = min([start, e.lowest, *(start - fall for fall in falls)])
    floor = e.estimates["loss_spread"].value
    return Estimate(max(max(tops) - bottom, floor), 0.0, "loss")


def _loss(e: Examination, constant: Estimate) -> Tensor:
    e.tick("loss and gradient")
    e.add("loss", loss_and_error(e.objective, e.point))
    e.add("constant_loss", constant)
    parts = e.objective.on(e.objective.data, chunk=max(1, e.objective.data.length // 16), decay=False)
    losses, weights = parts.chunk_losses(e.point)
    plain = float((weights * losses).sum() / weights.sum())
    spread = math.sqrt(float((weights * (losses - plain) ** 2).sum()) / max(1, len(losses) - 1))
    e.add("loss_spread", Estimate(spread, 0.0, "loss", LOSS_COST))
    e.add("plain_loss", Estimate(plain, spread, "loss"))
    if math.isfinite(constant.value) and constant.value > 0 and plain >= 0:
        e.add("explained", Estimate(1 - plain / constant.value, spread / constant.value))
    _, slope = value_and_gradient(e.objective, e.point)
    e.add("gradient_norm", Estimate(float(slope.norm()), 0.0, "loss per unit", 1.0))
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


def _eigenvalues(e: Examination, hessian: Hessian) -> None:
    e.tick("curvature")
    room = int(e.left / e.share / PRODUCT_COST / 5)

    def decided(process: Lanczos) -> bool:
        if process.size < 8:
            return False
        values, errors, _ = process.ritz()
        top = errors[-1] <= 0.02 * abs(values[-1])
        largest = max(abs(values[-1]), abs(values[0]))
        below = values[0] + errors[0] < -1e-3 * largest and errors[0] <= 0.2 * abs(values[0])
        nought = errors[0] <= 1e-4 * largest
        return bool(top and (below or nought))

    found = extreme_eigenvalues(
        hessian, e.point, budget=min(40, max(10, room)), decided=decided, generator=e.generator(1)
    )
    e.add("top_eigenvalue", found.top[0])
    e.add("bottom_eigenvalue", found.bottom[0])
    largest = abs(found.top[0].value)
    if largest > 0:
        low = found.bottom[0]
        e.add("negative_curvature", Estimate(low.value / largest, low.error / largest))
    e.directions["bottom"] = found.bottom_vector


def _noise(e: Examination, hessian: Hessian, slope: Tensor) -> None:
    e.tick("gradient noise")
    size = e.batch_size / e.objective.data.length
    batches = int(max(4, min(16, 10 / size)))
    if e.view.adaptive:
        e.view = OptimizerView.of(e.task, slope * slope)
        few = gradient_noise(
            e.objective, e.point, e.batch_size, full_gradient=slope, batches=4, generator=e.generator(4)
        )
        second = sum((d * d for d in few.deviations), torch.zeros_like(slope))
        e.view = OptimizerView.of(e.task, slope * slope + second / max(1, len(few.deviations)))
        e.spent += 4 * size * e.share
    noise = gradient_noise(
        e.objective,
        e.point,
        e.batch_size,
        full_gradient=slope,
        batches=batches,
        hessian=hessian,
        metric=e.view.metric,
        generator=e.generator(2),
    )
    e.add("noise_trace", noise.trace)
    e.add("gradient_signal", noise.signal)
    e.add("curvature_noise", noise.curvature)
    moved = e.view.metric * slope
    bend = float(moved @ (hessian @ moved))
    along = float(moved @ slope)
    rate = e.view.rate
    total = bend + noise.curvature.value
    error = noise.curvature.error
    if along > 0 and total > 0:
        step = Estimate(rate * total / along, rate * error / along, "1", PRODUCT_COST)
        e.add("step", step)
        if bend >= 0:
            e.add("noise_share", Estimate(noise.curvature.value / total, error * bend / total**2))
    e.add("predicted_change", predicted_change(rate, along, Estimate(bend), noise.curvature))


def _stability(e: Examination, hessian: Hessian) -> None:
    view, top = e.view, e.estimates["top_eigenvalue"]
    uniform = bool((view.metric == view.metric[0]).all())
    if not uniform:
        e.tick("curvature in the optimizer's metric")
        scaled = Scaled(hessian, view.metric)

        def decided(process: Lanczos) -> bool:
            if process.size < 5:
                return False
            values, errors, _ = process.ritz()
            return bool(errors[-1] <= 0.1 * abs(values[-1]))

        found = extreme_eigenvalues(
            scaled, e.point, bottom=0, budget=15, decided=decided, generator=e.generator(3)
        )
        top = e.add("metric_eigenvalue", found.top[0])
    else:
        top = Estimate(top.value * float(view.metric[0]), top.error * float(view.metric[0]))
    factor = view.rate / view.limit
    e.add("stability", Estimate(factor * top.value, factor * top.error))


def _drops(e: Examination, hessian: Hessian, slope: Tensor) -> None:
    e.tick("drops along gradient and curvature")
    start = e.estimates["loss"].value
    worth = 0.3 * max(abs(start), loss_range(e).value)
    reach = float(slope.norm() * fan_in_scales(e.task.model).norm())
    e.add_fall("gradient_reach", reach, 0.0, 0.0)
    squared = float(slope @ slope)
    if squared > 0:
        bend = float(slope @ (hessian @ slope))
        newton = squared / bend if bend > 0 else worth / squared
        far = max(worth / squared, newton)
        scales = sorted({newton * f for f in (0.1, 0.3, 1.0, 3.0)} | {far * f for f in (0.03, 1.0)})
        along = largest_drop(e.objective, e.point, -slope, scales=scales, start=start)
        e.add_fall("gradient_drop", along.drop.value, along.drop.error, along.drop.cost * e.share)
        e.curves["along_gradient"] = along.curve
        step, promised = krylov_step(hessian, slope)
        tried = largest_drop(
            e.objective, e.point, -step, scales=(0.03, 0.1, 0.3, 1.0), start=start
        )
        cost = (tried.drop.cost + promised.cost) * e.share
        e.add_fall("krylov_drop", tried.drop.value, tried.drop.error, cost)
        if along.drop.value > 0:
            ratio = tried.drop.value / along.drop.value
            rounding = along.drop.error / along.drop.value * ratio
            e.add("conditioning", Estimate(ratio, rounding), charge=False)
    low = e.estimates["bottom_eigenvalue"]
    if low.value < 0:
        reach = [math.sqrt(2 * worth * f / -low.value) for f in (1e-4, 1e-2, 0.1, 1.0)]
        limit = 3 * float(fan_in_scales(e.task.model).norm())
        reach = sorted({min(r, limit) for r in reach})
        down = largest_drop(
            e.objective, e.point, e.directions["bottom"], scales=reach, both=True, start=start
        )
        e.add_fall("curvature_drop", down.drop.value, down.drop.error, down.drop.cost * e.share)
        e.curves["along_negative_curvature"] = down.curve


def _continuation(e: Examination) -> None:
    start = e.estimates["loss"].value
    arm = ARM * e.budget
    steps = int(min(max(arm * e.population / e.batch_size, STEPS[0]), STEPS[1]))
    stability = e.estimates["stability"].value
    factors = {"unchanged": 1.0, "lower_rate": 0.1}
    if 0 < stability < RAISE_TO / 1.5:
        factors["raised_rate"] = RAISE_TO / stability
        if e.view.adaptive:
            # An adaptive step moves each weight by about the rate: keep that to a small part of it.
            typical = float(e.point.norm()) / math.sqrt(e.objective.dim)
            factors["raised_rate"] = min(factors["raised_rate"], 0.05 * typical / max(e.view.rate, 1e-30))
    for name, factor in factors.items():
        if name == "raised_rate" and factor < 1.5:
            continue
        e.tick(f"continuation: {name.replace('_', ' ')}")
        training = e.training()
        for group in training.optimizer.param_groups:
            group["lr"] *= factor
        if factor != 1.0:
            training.schedule = None
        test = e.test if name == "unchanged" else None
        run = continued(training, e.objective, steps=steps, start=start, test=test)
        e.add_fall(f"{name}_fall", run.fall.value, run.fall.error, run.cost)
        e.curves[f"continuation_{name}"] = run.curve()
        e.lowest = min(e.lowest, *(v for v in run.losses if math.isfinite(v)))
        if name == "unchanged":
            worst = max((v for v in run.losses if math.isfinite(v)), default=math.nan)
            e.add_fall("unchanged_rise", worst - start if run.finite else math.inf, 0.0, 0.0)
            seen = [*plain_history(e.task.history)[-2000:], *run.batch_losses]
            size, height, share, count = jumps(seen)
            e.add("jumps", Estimate(float(count)))
            e.add("jump", Estimate(size, 0.0, "spreads"))
            e.add("jump_share", Estimate(share))
            e.add_fall("jump_height", height, 0.0, 0.0)
            if run.test_losses:
                rise = -run.test_fall()
                gap = run.test_losses[0] - e.estimates["plain_loss"].value
                error = math.hypot(e.estimates["test_loss"].error, e.estimates["loss_spread"].value)
                e.add_fall("test_rise", rise.value, rise.error, 0.0)
                e.add_fall("test_gap", gap, error, 0.0)
                e.curves["continuation_test"] = run.test_curve()
    if "raised_rate" in factors:
        e.add("raised_by", Estimate(factors["raised_rate"]), charge=False)
    e.add("continuation_steps", Estimate(float(steps), unit="steps"), charge=False)
