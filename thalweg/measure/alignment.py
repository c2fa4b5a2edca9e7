"""Units of two networks put into the same order: permutations that leave a network what it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.chain import Chain, Link
from thalweg.objective.supervised import Supervised

__all__ = ["Alignment", "align"]

ROUNDS = 50
"""Rounds over the layers at most; each raises the inner product of the weights."""

EXAMPLES = 1024
"""On which activations are compared."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A network's units in the order of another's.

    Attributes:
        point: the parameters with the units permuted, ``(dim,)``: the same function.
        orders: for each hidden layer, which unit stands in each place.
        moved: share of the hidden units that changed their places.
        method: how the orders were found.
        cost: gradient evaluations.
    """

    point: Tensor
    orders: tuple[Tensor, ...]
    moved: float
    method: str
    cost: float


def align(objective: Supervised, first: Tensor, second: Tensor) -> Alignment:
    """The units of the second network in the order in which they are most like the first's.

    Of a plain chain of linear layers and convolutions any order of the hidden units is the same
    function. Two orders are tried, and that of the lower loss half way is taken: by activations, each
    layer's units paired so that the sum of the correlations on the examples is largest (Li et al.,
    Convergent Learning, 2016); and by weights from there, where each layer's order in turn makes
    the inner product of the two points largest until none does any more (Ainsworth, Hayase and
    Srinivasa, Git Re-Basin, ICLR 2023, algorithm 1). Neither is sure to be the best order: that
    problem is hard. Units whose sign may be turned (tanh) are not turned.

    Args:
        objective: the network with its data.
        first, second: points of shape ``(dim,)``.

    Raises:
        UsageError: a network that is no plain chain of linear layers and convolutions, norms of
            single units and functions of single numbers.
    """
    for point in (first, second):
        objective.check_points(point)
    chain = Chain.of(objective)
    one, other = (objective.placed.split(p.detach().double().cpu()) for p in (first, second))
    by_activations = _by_activations(objective, chain, first, second)
    by_weights = _by_weights(chain, one, other, by_activations)
    found = []
    for method, orders in (("activations", by_activations), ("weights", by_weights)):
        there = _permuted(objective, chain, second, orders)
        _check_same(objective, second, there)
        found.append((objective.value((first + there) / 2), method, orders, there))
    _, method, orders, there = min(found, key=lambda each: each[0])
    moved = [float((order != torch.arange(len(order))).sum()) for order in orders]
    units = sum(len(order) for order in orders)
    share = min(EXAMPLES, objective.data.length) / objective.data.length
    return Alignment(there, tuple(orders), sum(moved) / max(1, units), method, 2 / 3 * (3 + share))


def _check_same(objective: Supervised, point: Tensor, permuted: Tensor) -> None:
    before, after = objective.value(point), objective.value(permuted)
    tolerance = 1e3 * torch.finfo(point.dtype).eps
    if math.isfinite(before) and not abs(after - before) <= tolerance * (1 + abs(before)):
        raise UsageError(
            "model must be a plain chain of layers for its units to be aligned, but another order of "
            f"its units changes the loss from {before:.4g} to {after:.4g}"
        )


def _by_activations(
    objective: Supervised, chain: Chain, first: Tensor, second: Tensor
) -> list[Tensor]:
    """Layer by layer, by the correlation of what the units answer."""
    few = objective.data.subsample(EXAMPLES, torch.Generator().manual_seed(0))
    on = objective.on(few, chunk=min(len(few), objective.chunk))
    one, other = (chain.activations(on, point) for point in (first, second))
    orders = []
    for a, b in zip(one, other, strict=True):
        likeness = _standard(a).T @ _standard(b)
        orders.append(_assignment(likeness))
    return orders


def _by_weights(
    chain: Chain, first: Sequence[Tensor], second: Sequence[Tensor], start: Sequence[Tensor]
) -> list[Tensor]:
    """Coordinate ascent on ⟨first, second permuted⟩ over the orders."""
    orders = [order.clone() for order in start]
    generator = np.random.default_rng(0)
    for _ in range(ROUNDS):
        changed = False
        for place in generator.permutation(len(orders)):
            likeness = _likeness(chain, first, second, orders, int(place))
            order = _assignment(likeness)
            rows = torch.arange(len(order))
            gain = likeness[rows, order].sum() - likeness[rows, orders[place]].sum()
            if float(gain) > 1e-12 * float(likeness.abs().sum()):
                orders[place], changed = order, True
        if not changed:
            break
    return orders


def _likeness(
    chain: Chain,
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    orders: Sequence[Tensor],
    place: int,
) -> Tensor:
    """Inner product of all that belongs to unit i of the first and unit j of the second."""
    before = orders[place - 1] if place else None
    total: Tensor | float = 0.0
    link, after = chain.links[place], chain.links[place + 1]
    for at in link.vectors:
        total = total + first[at][:, None] * second[at][None, :]
    one, other = first[link.weight], _inputs_ordered(second[link.weight], before, link)
    total = total + one.flatten(1) @ other.flatten(1).T
    following = orders[place + 1] if place + 1 < len(orders) else None
    other = second[after.weight] if following is None else second[after.weight][following]
    one, other = (_by_input(weight, after) for weight in (first[after.weight], other))
    return total + one @ other.T


def _by_input(weight: Tensor, link: Link) -> Tensor:
    """A weight with a row for each unit that goes into it, ``(units, ...)``."""
    return weight.reshape(len(weight), link.inputs, -1).transpose(0, 1).flatten(1)


def _inputs_ordered(weight: Tensor, order: Tensor | None, link: Link) -> Tensor:
    if order is None:
        return weight
    units = weight.reshape(len(weight), link.inputs, -1)
    return units[:, order].reshape(weight.shape)


def _permuted(
    objective: Supervised, chain: Chain, point: Tensor, orders: Sequence[Tensor]
) -> Tensor:
    pieces = [piece.clone() for piece in objective.placed.split(point.detach())]
    for place, link in enumerate(chain.links):
        if place:
            pieces[link.weight] = _inputs_ordered(pieces[link.weight], orders[place - 1], link)
        if place < len(orders):
            for at in (link.weight, *link.vectors):
                pieces[at] = pieces[at][orders[place]]
    return torch.cat([piece.reshape(-1) for piece in pieces])


def _assignment(likeness: Tensor) -> Tensor:
    """For each row the column, so that the sum is largest."""
    table = likeness.double().nan_to_num(0.0, 0.0, 0.0).numpy()
    return torch.from_numpy(linear_sum_assignment(table, maximize=True)[1])


def _standard(values: Tensor) -> Tensor:
    """Columns of mean 0 and length 1; of a unit that never changes, zeros."""
    centred = values - values.mean(0)
    lengths = centred.norm(dim=0)
    return centred / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
