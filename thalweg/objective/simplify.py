"""Shorter programs for the same linear map: what a recording of autograd's operations repeats is left out."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from thalweg.objective.convolutions import laid_out, slopes_of_weights
from thalweg.objective.folding import folded
from thalweg.objective.program import Step

__all__ = ["simplified"]

ATEN = torch.ops.aten


def simplified(steps: list[Step], values: list[Any], result: int) -> tuple[list[Step], int]:
    """The same result by fewer operations; no step may write to a value.

    Transposing twice and adding zeros are left out, then what nobody reads; constants are drawn
    together, what is only added to something is added in place, and convolutions take their
    fastest form.
    Sums are associated differently: results agree up to rounding. ``values`` are those that the
    steps begin with; constants are added to it, or laid out anew.
    """
    steps = slopes_of_weights(steps, values)
    steps, result = _without_detours(steps, values, result)
    steps = folded(_read_by_someone(steps, result), values, result)
    steps = laid_out(_read_by_someone(steps, result), values)
    return _added_in_place(steps, values, result), result


def _without_detours(steps: list[Step], values: list[Any], result: int) -> tuple[list[Step], int]:
    same: dict[int, int] = {}
    made: dict[int, Step] = {}
    kept = []
    for step in steps:
        arguments = [
            [same.get(slot, slot) for slot in a] if isinstance(a, list) else same.get(a, a)
            for a in step.arguments
        ]
        step = replace(step, arguments=arguments)
        stands_for = _other_name(step, values, made)
        if stands_for is not None:
            same[step.results[0]] = stands_for
            continue
        if not step.many:
            made[step.results[0]] = step
        kept.append(step)
    return kept, same.get(result, result)


def _other_name(step: Step, values: list[Any], made: dict[int, Step]) -> int | None:
    """The value that the step's result equals, if one does."""
    if step.options:
        return None
    sources = [made.get(a) if isinstance(a, int) else None for a in step.arguments]
    if step.function in (ATEN.t.default, ATEN.transpose.int):
        source = sources[0]
        if source is not None and source.function is step.function:
            dims, before = ([values[slot] for slot in s.reads()][1:] for s in (step, source))
            first = source.arguments[0]
            return first if isinstance(first, int) and dims == before else None
    if step.function is ATEN.add.Tensor and None not in sources:
        for zero, other in (sources, sources[::-1]):
            assert zero is not None
            assert other is not None
            if zero.function is ATEN.zeros_like.default and _alike(other, step):
                return other.results[0]
    return None


def _read_by_someone(steps: list[Step], result: int) -> list[Step]:
    needed = {result}
    kept = []
    for step in reversed(steps):
        if needed.intersection(step.results):
            needed.update(step.reads())
            kept.append(step)
    return kept[::-1]


def _added_in_place(steps: list[Step], values: list[Any], result: int) -> list[Step]:
    read = Counter(slot for step in steps for slot in step.reads())
    read[result] += 1
    made = {step.results[0]: step for step in steps if not step.many}
    kept: dict[int, Step] = {}  # by the first of the results, in order

    def own(slot: int) -> bool:
        return made[slot].function in FRESH and read[slot] == 1

    for step in steps:
        kept[step.results[0]] = step
        if step.function is not ATEN.add.Tensor or step.options:
            continue
        first, second = (a for a in step.arguments if isinstance(a, int))
        orders = [
            (slot, other)
            for slot, other in ((first, second), (second, first))
            if other in made and _alike(made[other], step)
        ]
        for slot, other in orders:
            product = kept.get(slot)
            if (
                product is not None
                and product.function in FUSED
                and not product.options
                and not any(isinstance(values[place], int | float) for place in product.reads())
                and read[slot] == 1
                and _alike(product, step)
            ):
                del kept[slot]
                function = FUSED[product.function][own(other)]
                changed = replace(step, function=function, arguments=[other, *product.arguments])
                break
        else:
            sums = [[other, slot] for slot, other in orders if own(other)]
            if not sums:
                continue
            changed = replace(step, function=ATEN.add_.Tensor, arguments=sums[0])
        kept[step.results[0]] = made[step.results[0]] = changed
    return list(kept.values())


FUSED = {
    ATEN.mm.default: (ATEN.addmm.default, ATEN.addmm_.default),
    ATEN.mul.Tensor: (ATEN.addcmul.default, ATEN.addcmul_.default),
}
"""A product, and the same added to something: to a result of its own, or in place."""

FRESH = {
    *FUSED,
    *(function for pair in FUSED.values() for function in pair),
    ATEN.add.Tensor,
    ATEN.add_.Tensor,
    ATEN.convolution.default,
    ATEN.threshold_backward.default,
}
"""Operations whose result shares no memory with anything else that is read."""


def _alike(one: Step, two: Step) -> bool:
    return one.like is not None and one.like == two.like
