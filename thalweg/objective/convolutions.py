"""Convolutions of a program in the form, and the order of memory, in which a processor is fastest."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.objective.program import Step

__all__ = ["laid_out", "slopes_of_weights"]

ATEN = torch.ops.aten
CONVOLUTIONS = {ATEN.convolution.default, ATEN.convolution_backward.default}
RESHAPED = {ATEN.view.default, ATEN._unsafe_view.default}

FAST = (torch.float32, torch.bfloat16)
"""Whose kernels prefer the channels last."""


def slopes_of_weights(steps: list[Step], values: list[Any]) -> list[Step]:
    """The same results; ``values`` gets the constants that this needs.

    Autograd writes the slope of a weight, differentiated once more, as a convolution whose kernel
    is a whole image: it becomes the slope of a weight again.
    """
    return [part for step in steps for part in _slope_of_weight(step, values)]


def laid_out(steps: list[Step], values: list[Any]) -> list[Step]:
    """The same results, with the channels of images last in memory where there are convolutions.

    Constant images are laid out so, and thereby, by the rules of the operations, is what they make
    of them.
    """
    functions = {step.function for step in steps}
    if functions.isdisjoint(CONVOLUTIONS) or ATEN.as_strided.default in functions:
        return steps
    known: dict[tuple[Any, ...], Tensor] = {}
    for slot in {slot for step in steps for slot in step.reads()}:
        value = values[slot]
        if isinstance(value, Tensor) and value.ndim == 4 and value.is_contiguous():
            if value.is_floating_point() and value.dtype not in FAST:
                continue
            key = value.data_ptr(), value.shape, value.dtype
            if key not in known:
                known[key] = value.contiguous(memory_format=torch.channels_last)
            values[slot] = known[key]
    return [
        replace(step, function=ATEN.reshape.default) if step.function in RESHAPED else step
        for step in steps
    ]


def _slope_of_weight(step: Step, values: list[Any]) -> list[Step]:
    """The steps to the same result where a convolution's kernel is larger than that.

    The convolution of images ``(a, n, ...)`` with kernels ``(b, n, ...)``, the first two dimensions
    swapped, is the slope of a weight ``(b, a, ...)`` from examples to gradients; its stride is that
    one's dilation.
    """
    if step.function is not ATEN.convolution.default:
        return [step]
    image, kernel, bias, stride, padding, dilation, turned, _, groups = step.arguments
    plain = [values[slot] for slot in (bias, turned, groups) if isinstance(slot, int)]
    if plain != [None, False, 1] or not isinstance(kernel, int) or step.like is None:
        return [step]
    gradients, (shape, dtype) = values[kernel], step.like
    if gradients is None or gradients.shape[2:].numel() <= shape[2:].numel():
        return [step]

    def new(value: Any) -> int:
        values.append(value)
        return len(values) - 1

    first, second, nothing = new(0), new(1), new(None)
    examples, slope = new(None), new(None)
    weight = gradients.new_empty(()).expand(
        shape[1], shape[0], *shape[2:]
    )  # only its shape is read
    turned_back = [examples, first, second], [slope, first, second]
    return [
        Step(ATEN.transpose.int, [image, first, second], {}, [examples], False, None),
        Step(
            ATEN.convolution_backward.default,
            [
                new(gradients.transpose(0, 1)),
                examples,
                new(weight),
                nothing,
                dilation,
                padding,
                stride,
                turned,
                new([0] * (len(shape) - 2)),
                groups,
                new([False, True, False]),
            ],
            {},
            [new(None), slope, new(None)],
            True,
            None,
        ),
        Step(ATEN.transpose.int, turned_back[1], {}, step.results, False, (shape, dtype)),
    ]
