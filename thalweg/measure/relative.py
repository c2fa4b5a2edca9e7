"""Flatness that a rescaling of layers cannot fake: curvature in the weights' own measure."""

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.estimate import Estimate
from thalweg.measure.directions import normalised_directions
from thalweg.measure.rises import mean_and_error, without_decay
from thalweg.objective.derivatives import Hessian
from thalweg.objective.supervised import Supervised

__all__ = ["RelativeFlatness", "filter_curvature", "relative_flatness"]


@dataclass(frozen=True)
class RelativeFlatness:
    """κ of a network and of each of its layers.

    Attributes:
        total: the sum over the layers.
        layers: by the name of the weight.
    """

    total: Estimate
    layers: dict[str, Estimate]


def relative_flatness(
    objective: Supervised, point: Tensor | None = None, *, probes: int = 16, seed: int = 0
) -> RelativeFlatness:
    """κ_l = Σ_{s,s'} ⟨w_s, w_s'⟩ tr H_{s,s'}, w_s the rows of a layer's weight: relative flatness.

    H_{s,s'} holds the second derivatives by the weights of the units s and s'. So κ_l is the mean of
    vᵀHv over v = W_l Z with Z of independent signs, and products with one v of all layers estimate
    every layer at once. High values mean sharp. A ReLU network whose layers are rescaled against each
    other keeps its values. Filters of a convolution count as rows; biases and norms have no part, and
    neither has weight decay.

    Source: Petzka et al., Relative Flatness and Generalization, NeurIPS 2021, definition 3.

    Args:
        objective: a network with a weight of two dimensions or more.
        point: θ; where the model stands by default.
        probes: Hessian-vector products, 2 at least.

    Returns:
        Unbiased; errors are those of the mean over probes, widened to Student's. Cost: 2 evaluations a
        probe and 1 for the graph.
    """
    objective, x = _checked(objective, point, probes)
    shapes = [tuple(p.shape) for p in objective.placed.parameters]
    if not any(len(shape) > 1 for shape in shapes):
        raise UsageError("objective must have a weight of two dimensions or more, but has none")
    roots = [_root(piece) for piece in objective.placed.split(x)]
    hessian = Hessian(objective, x)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(probes):
        v = torch.cat([_drawn(root, shape, generator) for root, shape in zip(roots, shapes)])
        along = (v.double() * (hessian @ v.to(x)).double().cpu()).split(objective.placed.sizes)
        values.append(torch.stack([piece.sum() for piece in along]))
    table = torch.stack(values)
    names = _names(objective)
    layers = {
        name: Estimate(*mean_and_error(table[:, place]), "loss")
        for place, name in enumerate(names)
        if len(shapes[place]) > 1
    }
    return RelativeFlatness(Estimate(*mean_and_error(table.sum(1)), "loss", hessian.cost), layers)


def filter_curvature(
    objective: Supervised, point: Tensor | None = None, *, probes: int = 16, seed: int = 0
) -> Estimate:
    """E dᵀHd over filter-normalised random directions d: Σ_f (‖w_f‖²/n_f) tr H_ff.

    Over filters f of n_f weights: twice the rise of the loss, to second order, when every filter
    moves by its own length in a random direction. Not changed by a rescaling of a ReLU network's
    layers, nor by weight decay, which is left out.

    Source: the directions of Li et al., NeurIPS 2018, in a second-order expansion.
    """
    objective, x = _checked(objective, point, probes)
    hessian = Hessian(objective, x)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(probes):
        way = normalised_directions(objective, x, generator=generator)[0]
        values.append((way * (hessian @ way.to(x)).double().cpu()).sum())
    return Estimate(*mean_and_error(torch.stack(values)), "loss", hessian.cost)


def _checked(objective: Supervised, point: Tensor | None, probes: int) -> tuple[Supervised, Tensor]:
    if not isinstance(objective, Supervised):
        kind = type(objective).__name__
        raise UsageError(f"objective must be a Supervised, which has layers, not {kind}")
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 2:
        raise UsageError(f"probes must be a whole number of 2 or more, not {probes!r}")
    x = objective.point() if point is None else point.detach()
    objective.check_points(x)
    plain = without_decay(objective)
    assert isinstance(plain, Supervised)
    return plain, x


def _root(weight: Tensor) -> Tensor:
    """R with R Rᵀ = W Wᵀ, ``(rows, rank)`` of the fewest columns; empty for a bias."""
    if weight.ndim < 2:
        return weight.new_empty(0)
    rows = weight.detach().double().cpu().reshape(len(weight), -1)
    if rows.shape[1] <= rows.shape[0]:
        return rows
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    return vectors * values.clamp_min(0).sqrt()


def _drawn(root: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    size = torch.Size(shape).numel()
    if len(shape) < 2:
        return torch.zeros(size, dtype=torch.float64)
    columns = size // shape[0]
    signs = torch.randint(0, 2, (root.shape[1], columns), generator=generator).double() * 2 - 1
    return (root @ signs).reshape(-1)


def _names(objective: Supervised) -> list[str]:
    known = {id(p): name for name, p in objective.placed.model.named_parameters()}
    return [known[id(p)] for p in objective.placed.parameters]
