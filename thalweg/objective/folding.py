"""Constant factors and sums of a program, each drawn together into one."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.objective.program import Step

__all__ = ["folded"]

ATEN = torch.ops.aten


def folded(steps: list[Step], values: list[Any], result: int) -> list[Step]:
    """The same results: two constant factors become their product, a sum of a sum one sum.

    What nobody reads any more is left in; ``values`` gets the products.
    """
    read = Counter(slot for step in steps for slot in step.reads())
    read[result] += 1
    made: dict[int, Step] = {}
    products: dict[tuple[int, int], int | None] = {}
    found = []
    for step in steps:
        if step.function in (ATEN.mul.Tensor, ATEN.sum.dim_IntList) and not step.options:
            step = _factor(step, values, made, read, products) or step
            step = _total(step, values, made, read) or step
        if not step.many:
            made[step.results[0]] = step
        found.append(step)
    return found


def _factor(
    step: Step,
    values: list[Any],
    made: dict[int, Step],
    read: Counter[int],
    products: dict[tuple[int, int], int | None],
) -> Step | None:
    outer = _times_constant(step, values)
    inner = None if outer is None or read[outer[0]] != 1 else made.get(outer[0])
    first = None if inner is None else _times_constant(inner, values)
    if outer is None or first is None or step.like is None:
        return None
    key = min(first[1], outer[1]), max(first[1], outer[1])
    if key not in products:
        product = _compact(values[key[0]]) * _compact(values[key[1]])
        useful = product.dtype == step.like[1] and bool(torch.isfinite(product.sum()))
        products[key] = len(values) if useful else None
        values += [product] * useful
    slot, source = products[key], made.get(first[0])
    if slot is None or source is None or source.like is None:
        return None
    if torch.broadcast_shapes(source.like[0], values[slot].shape) != step.like[0]:
        return None
    return replace(step, arguments=[first[0], slot])


def _times_constant(step: Step, values: list[Any]) -> tuple[int, int] | None:
    """The places of what the step multiplies, and of the constant that it is multiplied by."""
    if step.function is not ATEN.mul.Tensor or step.options:
        return None
    one, two = step.arguments
    if not (isinstance(one, int) and isinstance(two, int)):
        return None
    if isinstance(values[one], Tensor):
        one, two = two, one
    return (one, two) if values[one] is None and isinstance(values[two], Tensor) else None


def _compact(tensor: Tensor) -> Tensor:
    """Without the repetitions of a dimension that was expanded."""
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _total(step: Step, values: list[Any], made: dict[int, Step], read: Counter[int]) -> Step | None:
    """Over all the dimensions at once, where what it sums is a sum, both without keeping any."""
    slot, *how = step.arguments
    inner = made.get(slot) if isinstance(slot, int) and read[slot] == 1 else None
    if inner is None or inner.function is not ATEN.sum.dim_IntList or inner.options:
        return None
    source, *before = inner.arguments
    over = made.get(source) if isinstance(source, int) else None
    if step.function is not inner.function or over is None or over.like is None:
        return None
    told = [values[place] for place in (*how, *before) if isinstance(place, int)]
    if len(how) != 1 or len(before) != 1 or not all(told):  # no dimensions are all of them
        return None
    second, first = told
    ndim = len(over.like[0])
    gone = {dim % ndim for dim in first}
    left = [dim for dim in range(ndim) if dim not in gone]
    values.append(sorted(gone | {left[dim] for dim in second}))
    return replace(step, arguments=[source, len(values) - 1])
