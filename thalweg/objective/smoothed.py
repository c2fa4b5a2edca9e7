"""A loss averaged over noise: what gradient descent with that noise in its steps descends."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from thalweg.errors import UsageError
from thalweg.objective.base import Objective
from thalweg.objective.mini_batch import MiniBatch
from thalweg.objective.noise import Ball, Noise, Uniform, parse
from thalweg.objective.quadrature import LEVELS, rule
from thalweg.objective.waves import closed_form

__all__ = ["Smoothed"]

ROWS = 2**18
"""Points at which the loss is evaluated at a time: bounds the memory."""

Evaluate = Callable[[Tensor, Tensor], Tensor]

CLOSED, QUADRATURE, SAMPLING = "closed form", "quadrature", "sampling"


class Smoothed(Objective):
    """``g(y) = E f(y − ω)``: a loss convolved with the noise of a step.

    The noise is that of the *step*: of a gradient noise it is ``noise.scaled(learning_rate)``. How the
    mean is taken is in ``method``:

    ``closed form``
        where the landscape's formula is a sum of polynomials and plane waves, whose means are
        moments and values of the characteristic function. Products of the two need independent
        coordinates (uniform, Gaussian).
    ``quadrature``
        in one and two dimensions: panels are halved at each point until the mean stands still to
        ``tolerance``, or the finest rule is reached. Features narrower than 1/128 (in two
        dimensions 1/32) of the noise's range may be missed.
    ``sampling``
        above, and under mini-batch noise: ``samples`` fixed draws in pairs ω, −ω (where −ω has the
        distribution of ω), the same at every point, so that the loss is as smooth as ``f`` is.

    Differentiating ``loss`` averages the derivatives of ``f``, which is right where ``f`` is
    continuous, kinks included. The transforms of ``torch.func`` work on the closed form only. Values
    of ``f`` that are not finite stay so, and a mean that does not exist is none (a square under
    Student's t of two degrees of freedom).

    Args:
        objective: the loss f.
        noise: the distribution of ω, or its text.
        method: the method to use; ``None`` takes the first of the list that there is.
        samples: evaluations of f at each point, for sampling.
        seed: of those draws.
        tolerance: of quadrature, relative to the mean absolute deviation of f under the noise.

    Raises:
        UsageError: an argument that breaks a rule; a method that there is not for this objective.
    """

    def __init__(
        self,
        objective: Objective,
        noise: Noise | str,
        *,
        method: str | None = None,
        samples: int = 1024,
        seed: int = 0,
        tolerance: float = 1e-9,
    ) -> None:
        if not isinstance(objective, Objective):
            raise UsageError(f"objective must be an Objective, not {type(objective).__name__}")
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 4:
            raise UsageError(f"samples must be a whole number of 4 or more, not {samples!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed must be a whole number of 0 or more, not {seed!r}")
        if not tolerance > 0:
            raise UsageError(f"tolerance must be above 0, not {tolerance!r}")
        self.objective, self.noise = objective, parse(noise)
        if isinstance(self.noise, MiniBatch) and self.noise.point is None:
            raise UsageError("noise must not change with the point: freeze it with at(point)")
        self.dim = objective.dim
        self.pairs, self.seed, self.tolerance = (samples + 1) // 2, seed, tolerance
        self._closed = closed_form(objective, self.noise) if method in (None, CLOSED) else None
        self.method = self._method(method)

    def _method(self, wanted: str | None) -> str:
        known = [SAMPLING]
        if self.dim in LEVELS and self.noise.symmetric:
            known.insert(0, QUADRATURE)
        if self._closed is not None:
            known.insert(0, CLOSED)
        if wanted is not None and wanted not in known:
            raise UsageError(
                f"method must be {' or '.join(known)} for this objective, not {wanted!r}"
            )
        return wanted or known[0]

    def start(self, generator: torch.Generator, trials: int = 1) -> Tensor:
        """Starting points of the objective itself."""
        return self.objective.start(generator, trials)

    def loss(self, points: Tensor) -> Tensor:
        self.check_points(points)
        if self._closed is not None:
            return self._closed[0](points)
        flat = points.reshape(-1, self.dim)
        if self.method == SAMPLING:
            return self._sampled_loss(flat).reshape(points.shape[:-1])
        with torch.no_grad():
            values, _, levels = self._adapted(flat.detach(), self._losses_at)
        if not (points.requires_grad and torch.is_grad_enabled()):
            return values[:, 0].reshape(points.shape[:-1])
        losses = torch.zeros_like(flat[:, 0])
        for level in levels.unique().tolist():
            chosen = (levels == level).nonzero()[:, 0]
            nodes, weights, _ = self._rule(level, flat)
            losses = losses.index_put((chosen,), self._weighted(flat[chosen], nodes, weights))
        return losses.reshape(points.shape[:-1])

    def loss_and_error(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses ``(...)`` and their errors ``(...)``, without a graph.

        The error is a standard error for sampling; for quadrature the change at the last halving of
        the panels and what an infinite range has next to its cut; 0 for a closed form.
        """
        value, error = self._value_and_error(points, self._losses_at)
        return value[..., 0], error[..., 0]

    def gradient(self, points: Tensor) -> Tensor:
        """Gradients of shape ``(..., dim)`` at points ``(..., dim)``."""
        return self.gradient_and_error(points)[0]

    def gradient_and_error(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients ``(..., dim)`` and their errors, coordinate by coordinate, without a graph.

        Under uniform noise in one dimension ``g'(y) = (f(y + a) − f(y − a))/(2a)``, which holds
        even where f jumps.
        """
        if self.method == QUADRATURE and self.dim == 1 and self._half_width() > 0:
            self.check_points(points)
            a = self._half_width()
            with torch.no_grad():
                ahead, behind = (self.objective.loss(points + step) for step in (a, -a))
                slope = ((ahead - behind) / (2 * a)).unsqueeze(-1)
                size = torch.maximum(ahead.abs(), behind.abs()).unsqueeze(-1)
            return slope, size * (torch.finfo(points.dtype).eps / a)
        return self._value_and_error(points, self._slopes_at)

    def _value_and_error(self, points: Tensor, evaluate: Evaluate) -> tuple[Tensor, Tensor]:
        self.check_points(points)
        flat = points.detach().reshape(-1, self.dim)
        with torch.no_grad():
            if self._closed is not None:
                slopes = evaluate == self._slopes_at
                parts = self._closed[1:] if slopes else self._closed[:1]
                value = torch.stack([part(flat) for part in parts], -1)
                error = torch.where(value.isfinite(), 0.0, torch.nan).to(value)
            elif self.method == SAMPLING:
                value, error = self._sampled(flat, evaluate)
            else:
                value, error, _ = self._adapted(flat, evaluate)
        shape = (*points.shape[:-1], value.shape[-1])
        return value.reshape(shape), error.reshape(shape)

    # What is averaged: quantities (n, m, c) at n points shifted by m nodes ---------------------

    def _losses_at(self, points: Tensor, nodes: Tensor) -> Tensor:
        return self.objective.loss(points.unsqueeze(1) - nodes).unsqueeze(-1)

    def _slopes_at(self, points: Tensor, nodes: Tensor) -> Tensor:
        with torch.enable_grad():
            shifted = (points.unsqueeze(1) - nodes).requires_grad_()
            losses = self.objective.loss(shifted)
            if not losses.requires_grad:  # a constant
                return torch.zeros_like(shifted)
            return torch.autograd.grad(losses.sum(), shifted)[0]

    def _weighted(self, points: Tensor, nodes: Tensor, weights: Tensor) -> Tensor:
        """``Σ wᵢ f(y − nodeᵢ)`` of shape ``(n,)``."""

        def mean(some: Tensor, shifts: Tensor, shares: Tensor) -> Tensor:
            return self.objective.loss(some.unsqueeze(1) - shifts) @ shares

        means = []
        for some in points.split(max(1, ROWS // len(nodes))):
            pieces = zip(nodes.split(ROWS), weights.split(ROWS))
            means.append(torch.stack([_piecewise(mean, some, *piece) for piece in pieces]).sum(0))
        return torch.cat(means) if means else points.sum(-1)

    # Quadrature --------------------------------------------------------------------------------

    def _half_width(self) -> float:
        return self.noise.a if isinstance(self.noise, Uniform | Ball) else 0.0

    def _rule(self, level: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = rule(self.noise, self.dim, level)
        nodes, weights = (torch.as_tensor(a).to(like) for a in (found.nodes, found.weights))
        return nodes, weights, torch.as_tensor(found.outermost, device=like.device)

    def _adapted(self, points: Tensor, evaluate: Evaluate) -> tuple[Tensor, Tensor, Tensor]:
        """Means ``(n, c)``, errors ``(n, c)`` and levels ``(n,)``; each point is refined on its own."""
        last = LEVELS[self.dim] - 1
        means, _, _ = self._at_level(0, points, evaluate)
        errors = torch.full_like(means, torch.inf)
        levels = torch.zeros(len(points), dtype=torch.long, device=points.device)
        left = torch.arange(len(points), device=points.device)
        for level in range(1, last + 1):
            finer, spread, tail = self._at_level(level, points[left], evaluate)
            change = (finer - means[left]).abs()
            # A tail that matters: the mean may not exist, or was cut off.
            doubt = torch.where(tail > 0.05 * spread, torch.inf, tail)
            means[left], errors[left], levels[left] = finer, change + doubt, level
            least = max(self.tolerance, 16 * torch.finfo(points.dtype).eps)
            unsettled = (change > least * spread) & finer.isfinite()
            left = left[unsettled.any(-1)]
            if not len(left):
                break
        return means, errors, levels

    def _at_level(
        self, level: int, points: Tensor, evaluate: Evaluate
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, scale and contribution of the outermost nodes, each ``(n, c)``."""
        nodes, weights, outermost = self._rule(level, points)
        columns = []
        for some in points.split(max(1, ROWS // len(nodes))):
            values = evaluate(some, nodes)
            mean = torch.einsum("nmc,m->nc", values, weights)
            spread = torch.einsum("nmc,m->nc", (values - mean.unsqueeze(1)).abs(), weights)
            size = torch.einsum("nmc,m->nc", values.abs(), weights)
            edge = weights * outermost
            tail = torch.einsum("nmc,m->nc", values.abs().nan_to_num(), edge)
            # Rounding alone changes a mean by about ε times its size, whatever the spread.
            floor = size * torch.finfo(points.dtype).eps / self.tolerance
            columns.append(torch.stack([mean, spread + floor, tail]))
        if not columns:
            empty = points[:, : self.dim if evaluate == self._slopes_at else 1]
            return empty.clone(), empty, empty
        mean, spread, tail = torch.cat(columns, 1)
        return mean, spread, tail

    # Sampling ----------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Number of pairs and seed of each block of draws; a block's size depends on ``dim`` only."""
        size = max(1, ROWS // self.dim)
        blocks = -(-self.pairs // size)
        seeds = np.random.SeedSequence(self.seed).generate_state(blocks, np.uint64)
        for block, seed in enumerate(seeds):
            yield min(size, self.pairs - block * size), int(seed >> 1)

    def _draws(self, pairs: int, seed: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Draws ``(pairs, dim)`` and their antithetic ones: −ω, or new ones if −ω is no draw."""
        generator = torch.Generator().manual_seed(seed)
        draws = self.noise.draw((pairs, self.dim), generator)
        others = -draws if self.noise.symmetric else self.noise.draw(draws.shape, generator)
        return draws.to(like), others.to(like)

    def _split(self, points: Tensor, pairs: int) -> Sequence[Tensor]:
        return points.split(max(1, ROWS // (pairs * self.dim)))

    def _sampled_loss(self, points: Tensor) -> Tensor:
        def total(some: Tensor, pairs: int, seed: int) -> Tensor:
            both = (some.unsqueeze(1) - draws for draws in self._draws(pairs, seed, some))
            return sum(self.objective.loss(points).sum(-1) for points in both) / (2 * self.pairs)  # pyright: ignore[reportReturnType]

        losses = points.new_zeros(len(points))
        for block in self._blocks():
            pieces = [_piecewise(total, some, *block) for some in self._split(points, block[0])]
            losses = losses + torch.cat(pieces) if pieces else points.sum(-1)
        return losses

    def _sampled(self, points: Tensor, evaluate: Evaluate) -> tuple[Tensor, Tensor]:
        """Means over antithetic pairs and their standard errors, each ``(n, c)``.

        Blocks are joined by the mean and the sum of squared deviations of each (Chan, Golub and
        LeVeque, *American Statistician* 37, 1983).
        """
        seen, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for pairs, seed in self._blocks():
            draws, others = self._draws(pairs, seed, points)
            pieces = []
            for some in self._split(points, pairs):
                values = (evaluate(some, draws) + evaluate(some, others)) / 2
                own = values.mean(1)
                pieces.append(torch.stack([own, ((values - own.unsqueeze(1)) ** 2).sum(1)]))
            own, spread = (
                torch.cat(pieces, 1) if pieces else evaluate(points, draws).sum(1).expand(2, -1, -1)
            )
            step = own - mean
            mean = mean + step * (pairs / (seen + pairs))
            squares = squares + spread + step**2 * (seen * pairs / (seen + pairs))
            seen += pairs
        return mean, (squares / (seen - 1) / seen).sqrt()


def _piecewise(function: Callable[..., Tensor], points: Tensor, *arguments: Any) -> Tensor:
    """The function's value; where a graph is needed, it is built again when it is gone through."""
    if not (points.requires_grad and torch.is_grad_enabled()):
        return function(points, *arguments)
    found = checkpoint(function, points, *arguments, use_reentrant=False, preserve_rng_state=False)
    assert isinstance(found, Tensor)
    return found
