"""What a fall that was found on a sample of the training data says of all of them."""

import math

import torch
from torch import Tensor

from thalweg.diagnose.examination import Examination
from thalweg.estimate import LOSS_COST, PRODUCT_COST, Estimate
from thalweg.measure.gradient_noise import GradientNoise, gradient_noise, population_square
from thalweg.objective.derivatives import Hessian
from thalweg.objective.inner_product import inner_product

__all__ = ["gradient_norm", "population_curvature", "population_fall"]

PARTS = 8
"""Parts of the fresh examples over which a curvature is taken."""

BENT = 0.25
"""Share of the distance between the sample and the rest that counts as error: the loss is no
quadratic, on which the mean of the two is right."""


def population_fall(e: Examination, fall: Estimate, there: Tensor) -> Estimate:
    """The fall over all the training data, from one that was sought on the sample.

    A point that was sought on ``n`` of ``N`` examples is too good for those, and as much too bad for
    all the others, to second order: the best fall of all the data is the mean of the sample's and of
    that of all at the same point. For the latter ``n/N`` is known, and fresh examples tell the rest.

    Source: the two halves of the bias that Akaike's criterion corrects; Akaike, A new look at the
    statistical model identification, IEEE TAC 19 (1974).

    Args:
        fall: over the sample, from ``e.point`` to ``there``.

    Returns:
        The same where the sample is all the data; else with the error of what the examples leave
        open. Cost: that of the fall, and a forward pass over the fresh examples, in evaluations on
        the sample.
    """
    if e.fresh is None or not math.isfinite(fall.value):
        return fall
    n, population = e.objective.data.length, e.objective.data.population
    before, weights = e.fresh_losses()
    after, _ = e.fresh.chunk_losses(there)
    falls = before - after
    mean = float((weights * falls).sum())
    count = len(falls)
    spread = float((weights * (falls - mean) ** 2).sum()) / (count - 1) if count > 1 else math.inf
    penalty = 0.5 * float((e.objective.decay * (e.point**2 - there**2)).sum())
    rest = 1 - n / population
    whole = (1 - rest) * fall.value + rest * (mean + penalty)
    size = e.fresh.data.length
    error = math.sqrt(spread * rest * (rest * (1 - size / (population - n)) + size / n)) / 2
    error = math.hypot(error, BENT * (fall.value - whole), fall.error)
    cost = fall.cost + LOSS_COST * size / n
    if not math.isfinite(whole):
        return Estimate(fall.value, math.inf, fall.unit, cost)
    return Estimate((fall.value + whole) / 2, error, fall.unit, cost)


def gradient_norm(
    e: Examination, slope: Tensor, noise: GradientNoise
) -> tuple[Estimate, GradientNoise, int]:
    """The norm of the gradient over all the training data, and the noise that tells its error.

    Of a full-batch training, whose own steps have no noise, that of half the sample is measured.
    """
    size = e.batch_size
    n, population = e.objective.data.length, e.objective.data.population
    if n < population and not noise.deviations and n > 1:
        size = n // 2
        noise = gradient_noise(
            e.objective, e.point, size, full_gradient=slope, batches=8, generator=e.generator(5)
        )
    squared = population_square(e.objective, slope, noise, size)
    norm = math.sqrt(max(squared.value, 0.0))
    error = math.sqrt(norm**2 + squared.error) - norm
    cost = 0.0 if size == e.batch_size else noise.trace.cost
    return Estimate(norm, error, "loss per unit", cost), noise, size


def population_curvature(e: Examination, eigenvalue: Estimate, vector: Tensor) -> Estimate:
    """An extreme eigenvalue over all the training data, from the sample's and its unit vector.

    The sample's is too extreme, its Rayleigh quotient on other examples not extreme enough, and by
    as much to first order in the error of the vector: as with :func:`population_fall` the mean is
    told. Error: of the quotient over parts of the examples, and half the distance of the two.
    """
    if e.fresh is None or not math.isfinite(eigenvalue.value):
        return eigenvalue
    n, population = e.objective.data.length, e.objective.data.population
    size, quotients, lengths = e.fresh.data.length, [], []
    for batch, length in e.fresh.data.chunks(max(1, size // PARTS), least=2):
        part = e.fresh.on(batch, decay=False)
        quotients.append(inner_product(vector, Hessian(part, e.point, keep=False) @ vector))
        lengths.append(length / size)
    values, weights = torch.tensor(quotients).double(), torch.tensor(lengths).double()
    mean, count = float((weights * values).sum()), len(quotients)
    spread = float((weights * (values - mean) ** 2).sum()) / (count - 1) if count > 1 else math.inf
    mean += float((e.objective.decay * vector * vector).sum())
    rest = 1 - n / population
    whole = (1 - rest) * eigenvalue.value + rest * mean
    error = math.sqrt(spread * rest * (rest * (1 - size / (population - n)) + size / n)) / 2
    error = math.hypot(error, (eigenvalue.value - whole) / 2, eigenvalue.error)
    cost = eigenvalue.cost + (1 + PRODUCT_COST) * size / n
    return Estimate((eigenvalue.value + whole) / 2, error, eigenvalue.unit, cost)
