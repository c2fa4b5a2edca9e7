"""Whether the inputs say anything about the targets, by predictors that need no training."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from thalweg.estimate import Estimate
from thalweg.objective.examples import Examples
from thalweg.objective.supervised import Supervised
from thalweg.task import Task

__all__ = ["label_signal", "reachable_loss"]

FEWEST = 20
"""Examples below which folds are too small to say anything."""

NEIGHBOURS = (5, 25)
RIDGES = tuple(10.0**k for k in range(-3, 4))
WIDEST = 4096
"""Input columns; more are projected at random, which keeps distances."""


def label_signal(
    source: Task | Supervised | Examples, *, examples: int = 1000, folds: int = 5, seed: int = 0
) -> Estimate:
    """How much better than a constant the targets are predicted from the inputs, held out.

    ``1 - E‖y - ŷ(x)‖² / E‖y - ȳ‖²`` over folds, classes as indicator vectors, for the best of a
    linear predictor (ridge, its strength by generalised cross-validation: Golub, Heath, Wahba 1979)
    and the means of the 5 and 25 nearest neighbours on standardised inputs. 1: the targets are known
    from the inputs; 0 or below: neither sees any relation, as with shuffled labels. A relation that
    only a deeper predictor sees reads 0 too: small values are no proof.

    Error: standard error over the folds. Cost: no evaluation of the model; about 0.1 s. NaN where
    inputs are no tensor of real numbers (tokens are none), where there are fewer than 20 examples,
    where the targets are constant or one label for each example, and for a ``batch_loss``, which may
    use its batch in any way.
    """
    unknown = Estimate(math.nan, math.nan)
    if isinstance(source, Supervised):
        pool = source.data if source.pair_loss is not None else None
    elif isinstance(source, Task):
        pool = Examples.of(source.train) if source.loss is not None else None
    else:
        pool = source
    if pool is None:
        return unknown
    generator = torch.Generator().manual_seed(seed)
    sample = pool.subsample(examples, generator)
    batch = sample.fetch(slice(0, len(sample)))
    if not isinstance(batch, tuple | list) or len(batch) != 2 or len(sample) < FEWEST:
        return unknown
    x, y = _inputs(batch[0], generator), _targets(batch[1])
    if x is None or y is None or not x.isfinite().all() or not y.isfinite().all():
        return unknown
    parts = torch.randperm(len(x), generator=generator).chunk(folds)
    scores = torch.stack(
        [_scores(x, y, held, torch.cat([p for p in parts if p is not held])) for held in parts]
    )
    best = int(scores.mean(0).argmax())
    error = float(scores[:, best].std()) / math.sqrt(len(parts))
    return Estimate(float(scores[:, best].mean()), error)


def reachable_loss(constant: Estimate, floor: Estimate, signal: Estimate) -> Estimate:
    """The loss that a predictor as good as a plain one would have: ``f₀ - s (f₀ - f*)``.

    Args:
        constant: ``f₀``, of :func:`~thalweg.measure.fit.constant_loss`.
        floor: ``f*``, of :func:`~thalweg.measure.fit.output_floor`.
        signal: of :func:`label_signal`; ``s`` is two of its errors below it, and never below 0, so
            that labels without signal promise nothing.

    A share of the variance stands for a share of the loss, which it is for a squared error, and
    about so for others. NaN where one of them is.
    """
    if not all(map(math.isfinite, (constant.value, floor.value, signal.value))):
        return Estimate(math.nan, math.nan, "loss")
    whole = max(0.0, constant.value - floor.value)
    share = max(0.0, signal.value - 2 * signal.error)
    return Estimate(constant.value - share * whole, signal.error * whole, "loss", floor.cost)


def _inputs(x: object, generator: torch.Generator) -> Tensor | None:
    """Inputs as a matrix; None where they are no tensor of real numbers."""
    if not isinstance(x, Tensor) or x.ndim < 1 or x.is_complex():
        return None
    if not x.is_floating_point() and x.dtype != torch.uint8:
        return None
    x = x.detach().cpu().reshape(len(x), -1).float()
    if x.shape[1] > WIDEST:
        projected = torch.zeros(len(x), WIDEST)
        for block in x.split(WIDEST, 1):
            matrix = torch.randn(block.shape[1], WIDEST, generator=generator)
            projected += block @ (matrix / math.sqrt(WIDEST))
        x = projected
    return x.double()


def _targets(y: object) -> Tensor | None:
    """Targets as a matrix of numbers or of indicators; None where nothing can be learnt of them."""
    if not isinstance(y, Tensor) or y.ndim < 1:
        return None
    y = y.detach().cpu()
    if y.is_floating_point():
        y = y.reshape(len(y), -1).double()
        return None if bool((y == y[0]).all()) or y.shape[1] > WIDEST else y
    if y.ndim > 1 and y.shape[1:].numel() > 1:
        return None
    classes, places = y.flatten().unique(return_inverse=True)
    if len(classes) < 2 or len(classes) > len(y) // 2:
        return None
    return F.one_hot(places).double()


def _scores(x: Tensor, y: Tensor, held: Tensor, kept: Tensor) -> Tensor:
    """Held-out improvement over the mean of each predictor."""
    mean, spread = x[kept].mean(0), x[kept].std(0)
    x = torch.where(spread > 0, (x - mean) / spread.clamp_min(1e-300), torch.zeros_like(x))
    centre = y[kept].mean(0)
    inside, outside = x[kept], x[held]
    answers = [_ridge(inside, y[kept] - centre, outside)]
    distances = torch.cdist(outside, inside)
    for count in NEIGHBOURS:
        nearest = distances.topk(min(count, len(kept)), largest=False).indices
        answers.append(y[kept][nearest].mean(1) - centre)
    truth = y[held] - centre
    scale = truth.square().sum().clamp_min(1e-300)
    return torch.stack([1 - (truth - answer).square().sum() / scale for answer in answers])


def _ridge(inside: Tensor, y: Tensor, outside: Tensor) -> Tensor:
    """Ridge regression of the strength that generalised cross-validation picks.

    By the eigenvalues of the smaller of the two Gram matrices.
    """
    rows, width = inside.shape
    dual = rows < width
    gram = inside @ inside.T if dual else inside.T @ inside
    values, vectors = torch.linalg.eigh(gram / width)
    kept = values > 1e-10 * values.max().clamp_min(1e-300)
    values, vectors = values[kept], vectors[:, kept]
    lengths = (values * width).sqrt()
    answers = vectors.T @ y if dual else vectors.T @ (inside.T @ y) / lengths[:, None]
    axes = outside @ (inside.T @ vectors) / lengths if dual else outside @ vectors
    total, powers = float(y.square().sum()), answers.square().sum(1)
    best = (math.inf, torch.zeros_like(values))
    for ridge in RIDGES:
        shrink = values / (values + ridge)
        residual = total - float(((2 * shrink - shrink.square()) * powers).sum())
        score = residual / max(1 - float(shrink.sum()) / rows, 1e-12) ** 2
        if score < best[0]:
            best = (score, values.sqrt() / (values + ridge))
    return axes @ (best[1][:, None] * answers) / math.sqrt(width)
