"""The trace of a network's Hessian as that of its Gauss-Newton part and of the residual.

``H = JᵀSJ + R``. The first trace is a sum of squared norms over examples, which backward passes
alone give, exactly. The second part is what the network's own curvature adds; only its blocks within
a layer count, and where the network is piecewise linear in every layer's parameters these vanish.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.estimate import Estimate
from thalweg.measure.density import half_width
from thalweg.objective.example_norms import traced, understood
from thalweg.objective.supervised import Supervised

__all__ = ["gauss_newton_trace", "residual_trace", "trace_by_parts"]

OUTPUTS = 32
"""Outputs of an example up to which each is followed; of more, random combinations are."""

MOST_OUTPUTS = 256
"""Outputs of an example beyond which the Hessian of the loss in them is not made."""

LEAST = 4
"""Random vectors of each layer at least, where one shows that there is something: of fewer the error
could not be told."""

BACKWARD = 2 / 3
"""Cost of a backward pass in gradient evaluations."""


def trace_by_parts(
    objective: Supervised,
    point: Tensor,
    unit: str,
    *,
    gauss_newton: bool = False,
    rtol: float,
    budget: float,
    generator: torch.Generator,
) -> Estimate | None:
    """The trace, with an error twice which holds in 95% of draws; None where that is no way.

    Args:
        gauss_newton: of that part alone.
        rtol: the standard error that is asked for, as a share of the trace.
        budget: gradient evaluations at most.
    """
    if not understood(objective, point):
        return None
    first = gauss_newton_trace(
        objective, point, unit, rtol=rtol / 2, budget=budget / 2, generator=generator
    )
    if first is None:
        return None
    decay = float(torch.as_tensor(objective.decay, dtype=point.dtype).expand(objective.dim).sum())
    value = first.value + decay
    if gauss_newton:
        return Estimate(value, first.error, unit, first.cost)
    second = residual_trace(
        objective,
        point,
        unit,
        beside=value,
        rtol=rtol,
        budget=budget - first.cost,
        generator=generator,
    )
    error = math.hypot(first.error, second.error)
    return Estimate(value + second.value, error, unit, first.cost + second.cost)


def gauss_newton_trace(
    objective: Supervised,
    point: Tensor,
    unit: str,
    *,
    rtol: float,
    budget: float,
    generator: torch.Generator,
) -> Estimate | None:
    """The trace of ``mean of JᵀSJ``: exact for up to :data:`OUTPUTS` outputs of an example.

    With ``S = BBᵀ`` it is the mean of the sum of ``‖Jᵀb‖²`` over the columns of ``B``; of more
    outputs ``b`` is ``B`` times random signs. None where the loss is not convex in the output, or
    the output too large.
    """
    cost, totals, exact = 0.0, np.zeros(0), True
    with objective.placed.at(point, objective.mode, objective.seed), traced(objective) as run:
        for batch, weight in objective.weighted_chunks():
            done = run(batch[0])
            factor = _factor(objective, done.output.detach(), batch[1])
            if factor is None:
                return None
            count = factor.shape[-1]
            exact = count <= OUTPUTS
            if not exact:
                count = int(min(OUTPUTS, max(4, budget / BACKWARD)))
            sums = []
            for column in range(count):
                if exact:
                    chosen = factor[..., column]
                else:
                    shape = (*factor.shape[:-2], factor.shape[-1], 1)
                    signs = torch.randint(0, 2, shape, generator=generator).to(factor) * 2 - 1
                    chosen = (factor @ signs)[..., 0]
                cotangent = chosen.to(point.dtype).reshape(done.output.shape)
                sums.append(weight * float(done.squared_norms(cotangent).double().mean()))
            totals = np.array(sums) + (totals if len(totals) else 0.0)
            cost += weight * (1 + BACKWARD * count)
    if exact:
        rounding = 16 * torch.finfo(point.dtype).eps * float(totals.sum())
        return Estimate(float(totals.sum()), rounding, unit, cost)
    error = half_width(len(totals) - 1) * float(totals.std(ddof=1)) / math.sqrt(len(totals))
    return Estimate(float(totals.mean()), error, unit, cost)


def _factor(objective: Supervised, output: Tensor, target: object) -> Tensor | None:
    """``B`` of shape ``(n, outputs, outputs)`` with ``BBᵀ = S`` for each example; None if S is not
    positive semidefinite, or large."""
    assert objective.pair_loss is not None
    pair_loss, examples = objective.pair_loss, len(output)
    with torch.enable_grad():
        leaf = output.clone().requires_grad_()
        loss = objective.reduction.mean(
            lambda pair: pair_loss(*pair), (leaf, target), objective.unit
        )
        (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
        if not slope.requires_grad:
            return output.new_zeros(examples, output[0].numel(), 1)
        flat = slope.flatten(1)
        if flat.shape[1] > MOST_OUTPUTS:
            return None
        columns = [
            torch.autograd.grad(flat[:, i].sum(), leaf, retain_graph=True)[0].flatten(1)
            for i in range(flat.shape[1])
        ]
    matrix = examples * torch.stack(columns, -1).double()
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    largest = values[:, -1:].clamp(min=0)
    if bool((values[:, :1] < -1e-4 * largest.max()).any()):
        return None
    return vectors * values.clamp(min=0).sqrt()[:, None, :]


@dataclass
class _Cells:
    """Samples of ``vᵀR_ll v`` and ``‖R_ll v‖²``, a row of pairs for each layer of each chunk."""

    rows: list[list[tuple[float, float]]]

    def total(self) -> tuple[float, float]:
        """The sum of the means, and its standard error, widened by Student's t.

        The variance of one sample, ``2‖R_ll‖²``, is twice the mean of ``‖R_ll v‖²``. The larger of
        this and the samples' own is taken: either may be small by chance, and the rounds end then.
        """
        table = np.array(self.rows)
        rounds = table.shape[1]
        spread = np.maximum(table[..., 0].var(1, ddof=1), 2 * table[..., 1].mean(1)) / rounds
        value = float(table[..., 0].mean(1).sum())
        if not spread.any():
            return value, 0.0
        freedom = float(spread.sum() ** 2 / (spread**2).sum()) * (rounds - 1)
        return value, half_width(freedom) * math.sqrt(float(spread.sum()))


def residual_trace(
    objective: Supervised,
    point: Tensor,
    unit: str,
    *,
    beside: float,
    rtol: float,
    budget: float,
    generator: torch.Generator,
) -> Estimate:
    """The trace of ``R``, the Hessian of the outputs weighted by the slopes of the loss in them.

    Each layer of each chunk of the examples has a random vector of its own: what couples layers or
    chunks is no part of the trace, and so none of the noise either. Where a Gaussian vector gives
    exactly nothing in every layer the blocks vanish, and one round is enough.

    Args:
        beside: what the trace of the rest is, for ``rtol``.
    """
    residual = copy.copy(objective)
    residual.pair_loss, residual.decay = _Linearised(objective), 0.0
    groups = _groups(objective)
    cells: _Cells = _Cells([])
    cost, rounds = 0.0, 0
    while True:
        fresh: list[list[tuple[float, float]]] = []
        repeat = min(8, max(LEAST, rounds))
        with (
            torch.enable_grad(),
            residual.placed.at(point, residual.mode, residual.seed) as parameters,
        ):
            for batch, weight in residual.weighted_chunks():
                loss = weight * residual.batch_loss(batch)
                slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
                cost += weight
                for group in groups:
                    samples = [_quadratic(parameters, slopes, group, generator)]
                    if any(samples[0]):
                        more = range(repeat - 1)
                        samples += [_quadratic(parameters, slopes, group, generator) for _ in more]
                        cost += repeat * weight * 2 / len(groups)
                    fresh.append(samples if any(samples[0]) else samples * repeat)
        rounds += repeat
        cells.rows = [a + b for a, b in zip(cells.rows, fresh)] if cells.rows else fresh
        if not any(any(pair) for row in cells.rows for pair in row):
            return Estimate(0.0, 0.0, unit, cost)
        value, error = cells.total()
        allowed = max(rtol * abs(beside + value), 1e-300)
        needed = cost * (error / allowed) ** 2
        hopeless = rounds >= 8 and needed > 2 * budget
        if error <= allowed or hopeless or cost >= budget or not math.isfinite(value):
            return Estimate(value, error, unit, cost)


class _Linearised:
    """The loss as a linear function of the output, by its slope where the output is."""

    def __init__(self, objective: Supervised) -> None:
        assert objective.pair_loss is not None
        self.loss = objective.pair_loss

    def __call__(self, output: Tensor, target: object) -> Tensor:
        leaf = output.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.loss(leaf, target), leaf)
        return (slope.detach() * output).sum()


def _groups(objective: Supervised) -> list[list[int]]:
    """Places of the parameters of each layer."""
    names = {id(p): name for name, p in objective.placed.model.named_parameters()}
    found: dict[str, list[int]] = {}
    for place, p in enumerate(objective.placed.parameters):
        found.setdefault(names[id(p)].rpartition(".")[0], []).append(place)
    return list(found.values())


def _quadratic(
    parameters: Sequence[Tensor],
    slopes: Sequence[Tensor | None],
    group: list[int],
    generator: torch.Generator,
) -> tuple[float, float]:
    """``vᵀRv`` and ``‖Rv‖²`` for a Gaussian ``v`` on the parameters of one layer."""
    own = [parameters[i] for i in group]
    drawn = [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for p in own]
    used = [(slopes[i], v) for i, v in zip(group, drawn, strict=True)]
    used = [(s, v) for s, v in used if s is not None and s.requires_grad]
    if not used:
        return 0.0, 0.0
    products = torch.autograd.grad(
        [s for s, _ in used], own, [v for _, v in used], retain_graph=True, allow_unused=True
    )
    pairs = [(p.double(), v) for p, v in zip(products, drawn, strict=True) if p is not None]
    along = sum(float((p * v).sum()) for p, v in pairs)
    return along, sum(float((p * p).sum()) for p, _ in pairs)
