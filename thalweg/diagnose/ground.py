"""The ground under a point, as a diagnosis buys it: curvature, noise, stability, drops."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.sampling import gradient_norm, population_curvature, population_fall
from thalweg.estimate import PRODUCT_COST, Estimate
from thalweg.measure.curvature import extreme_eigenvalues
from thalweg.measure.gradient_noise import gradient_noise, population_square
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.operators import Scaled
from thalweg.measure.steps import LineDrop, krylov_step, largest_drop, predicted_change
from thalweg.objective.derivatives import Hessian
from thalweg.objective.inner_product import inner_product, length
from thalweg.run.view import OptimizerView

__all__ = ["take_drops", "take_eigenvalues", "take_noise", "take_stability"]

FARTHEST = 3.0
"""Longest move along a line, in lengths of a whole fresh weight vector: farther is no neighbourhood."""


def take_eigenvalues(e: Examination, hessian: Hessian) -> None:
    """Both ends of the spectrum, until λ_max is known to 2% and the sign of λ_min is decided."""
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
    high = e.add("top_eigenvalue", population_curvature(e, found.top[0], found.top_vector))
    low = e.add("bottom_eigenvalue", population_curvature(e, found.bottom[0], found.bottom_vector))
    largest = abs(high.value)
    if largest > 0:
        e.add("negative_curvature", Estimate(low.value / largest, low.error / largest))
    e.directions["bottom"] = found.bottom_vector


def take_noise(e: Examination, hessian: Hessian, slope: Tensor) -> None:
    """tr Σ_B, tr(HΣ_B), the signal, and the step and noise ratios of docs/evidence.md."""
    e.tick("gradient noise")
    size = e.batch_size / e.objective.data.length
    batches = int(max(4, min(16, 10 / size)))
    if e.view.adaptive:
        e.view = OptimizerView.of(e.task, slope * slope)
        few = gradient_noise(
            e.objective,
            e.point,
            e.batch_size,
            full_gradient=slope,
            batches=4,
            generator=e.generator(4),
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
    norm, seen, drawn = gradient_norm(e, slope, noise)
    e.estimates["gradient_norm"] = replace(norm, cost=e.estimates["gradient_norm"].cost)
    e.spent += norm.cost * e.share
    moved = e.view.metric * slope
    along = population_square(e.objective, slope, seen, drawn, metric=e.view.metric)
    _add_step(e, inner_product(moved, hessian @ moved), along, noise.curvature)


def _add_step(e: Examination, bend: float, along: Estimate, noise: Estimate) -> None:
    """The ratios of a step's terms, and the change of the loss that they predict."""
    rate = e.view.rate
    n, population, size = e.objective.data.length, e.population, e.batch_size
    if n < population and size < population:  # what the draw of the sample adds to gᵀHg
        bend -= (1 / n - 1 / population) / (1 / size - 1 / population) * noise.value
    total = bend + noise.value
    if along.value > 0 and total > 0:
        ratio = rate * total / along.value
        error = math.hypot(rate * noise.error / along.value, ratio * along.error / along.value)
        e.add("step", Estimate(ratio, error))
        if bend >= 0:
            share = noise.value / total
            e.add("noise_share", Estimate(share, noise.error * bend / total**2))
    change = predicted_change(rate, along.value, Estimate(bend), noise)
    error = math.hypot(change.error, rate * along.error)
    e.add("predicted_change", replace(change, error=error, cost=PRODUCT_COST))


def take_stability(e: Examination, hessian: Hessian) -> None:
    """Rate times top eigenvalue, in the optimizer's metric, over the limit of its momentum."""
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
        # In the metric of P a slope times a learning rate is a step: the reciprocal of a rate.
        top = e.add("metric_eigenvalue", replace(found.top[0], unit="per unit of rate"))
    else:
        top = Estimate(top.value * float(view.metric[0]), top.error * float(view.metric[0]))
    factor = view.rate / view.limit
    e.add("stability", Estimate(factor * top.value, factor * top.error))


def _within_reach(e: Examination) -> float:
    """How far the loss may have to fall, as far as that is known before any descent.

    Down to the best constant predictor or up from there, or the fall of the history; where neither
    is known the loss itself, the only case in which its zero counts.
    """
    start = e.estimates["loss"].value
    tops = [e.estimates[n].value for n in ("constant_loss", "history_start") if n in e.estimates]
    known = [abs(start - top) for top in tops if math.isfinite(top)]
    return max(e.scale().value, *(known or [abs(start)]))


def take_drops(e: Examination, hessian: Hessian, slope: Tensor) -> None:
    """The largest falls measured along the gradient, a Krylov step and negative curvature."""
    e.tick("drops along gradient and curvature")
    start = e.estimates["loss"].value
    worth = 0.3 * _within_reach(e)
    fresh = float(fan_in_scales(e.task.model).norm())
    steepness = length(slope)
    norm = e.estimates["gradient_norm"]
    e.add_fall("gradient_reach", norm.value * fresh, norm.error * fresh, 0.0)
    squared = steepness**2
    if squared > 0:
        bend = inner_product(slope, hessian @ slope)
        newton = squared / bend if bend > 0 else worth / squared
        far = max(worth / squared, newton)
        wanted = {newton * f for f in (0.1, 0.3, 1.0, 3.0)} | {far * f for f in (0.03, 1.0)}
        scales = sorted({min(step, FARTHEST * fresh / steepness) for step in wanted})
        along = largest_drop(e.objective, e.point, -slope, scales=scales, start=start)
        drop = _over_all(e, along, -slope)
        e.add_fall("gradient_drop", drop.value, drop.error, (drop.cost + PRODUCT_COST) * e.share)
        e.curves["along_gradient"] = along.curve
        step, promised = krylov_step(hessian, slope)
        tried = largest_drop(e.objective, e.point, -step, scales=(0.03, 0.1, 0.3, 1.0), start=start)
        best = _over_all(e, tried, -step)
        e.add_fall("krylov_drop", best.value, best.error, (best.cost + promised.cost) * e.share)
        if drop.value > 0:
            ratio = best.value / drop.value
            error = math.hypot(best.error, ratio * drop.error) / drop.value
            e.add("conditioning", Estimate(ratio, error), charge=False)
    low = e.estimates["bottom_eigenvalue"]
    if low.value < 0:
        reach = {math.sqrt(2 * worth * f / -low.value) for f in (1e-4, 1e-2, 0.1, 1.0)}
        # Where nothing lower is known yet, the loss gives no length: the weights' own size does.
        reach |= {fresh * f for f in (0.01, 0.1, 0.3, 1.0)}
        reach = sorted({min(r, FARTHEST * fresh) for r in reach})
        down = largest_drop(
            e.objective, e.point, e.directions["bottom"], scales=reach, both=True, start=start
        )
        drop = _over_all(e, down, e.directions["bottom"])
        e.add_fall("curvature_drop", drop.value, drop.error, drop.cost * e.share)
        e.curves["along_negative_curvature"] = down.curve


def _over_all(e: Examination, line: LineDrop, direction: Tensor) -> Estimate:
    """The drop over all the training data; like every drop at least 0."""
    drop = line.drop
    if drop.value > 0:
        drop = population_fall(e, drop, e.point + line.step * direction)
    return replace(drop, value=max(drop.value, 0.0)) if math.isfinite(drop.value) else drop
