"""Whether inputs and targets say anything, on a scale that descent can work with."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.finding import Mechanism

__all__ = ["constant_data", "input_scale", "target_scale"]

ENOUGH = 8
"""Examples below which nothing is said of the data as a whole."""

COLUMNS_APART = 50.0
"""Ratio of the spreads of two input columns. The square of it, 2500, multiplies the condition
number of the first layer, and so about the number of steps."""

OFFSET = 8.0
"""Mean over standard deviation: its square, times the columns, does the same."""

LARGE, SMALL = 30.0, 1e-3
"""Root mean square of inputs for which the usual initialisation, made for 1, is far off."""


def constant_data(look: Look) -> Iterator[Mechanism]:
    """Inputs that are the same for all examples though the targets differ, or constant targets."""
    if not look.pairs or not look.inputs or look.target is None or len(look.target) < ENOUGH:
        return
    same_inputs = all(_constant(leaf) for leaf in look.inputs)
    same_target = _constant(look.target)
    if same_inputs and not same_target:
        yield Mechanism(
            "constant inputs",
            f"All {len(look.target)} examples looked at have the same input but different targets: "
            "nothing tells them apart.",
            "print(x.std(0))  # look at how the inputs are read and scaled",
            Cause.CANNOT_FIT,
        )
    elif same_target and not same_inputs:
        value = f" ({look.target[0].item():g})" if look.target[0].numel() == 1 else ""
        yield Mechanism(
            "constant targets",
            f"All {len(look.target)} examples looked at have the same target{value}.",
            "print(y.unique())  # look at how the targets are read, and whether they are shuffled",
        )


def input_scale(look: Look) -> Iterator[Mechanism]:
    """Input columns of very unequal spread, far from zero, or all very large or small."""
    if not look.pairs or _normalises_first(look.model):
        return
    floats = [x for x in look.inputs if x.is_floating_point() and x.ndim > 1 and len(x) >= ENOUGH]
    for x in floats[:1]:
        x = x.double()
        if not torch.isfinite(x).all() or _constant(x):
            return
        line = "x = (x - x.mean(0)) / x.std(0).clamp_min(1e-8)"
        spread, mean = x.flatten(1).std(0), x.flatten(1).mean(0)
        # A column that hardly ever moves (the corner of an image) is no scale of its own.
        moving = spread[_often_moves(x.flatten(1))] if x.ndim == 2 else spread[:0]
        size = float(x.square().mean().sqrt())
        if len(moving) > 1 and float(moving.max() / moving.min()) > COLUMNS_APART:
            yield Mechanism(
                "inputs of unequal scale",
                f"The spread of the input columns goes from {float(moving.min()):.2g} to "
                f"{float(moving.max()):.2g}: steps that suit the widest column hardly move the "
                "narrowest.",
                line,
            )
        elif float((mean.abs() / spread.clamp_min(1e-30)).median()) > OFFSET:
            yield Mechanism(
                "inputs far from zero",
                f"The inputs lie at {float(mean.abs().median()):.3g} with a spread of only "
                f"{float(spread.median()):.2g}.",
                line,
            )
        elif size > LARGE or size < SMALL:
            yield Mechanism(
                "inputs of wild scale",
                f"The inputs have root mean square {size:.3g}, where initialisation expects "
                "about 1.",
                line,
            )


def target_scale(look: Look) -> Iterator[Mechanism]:
    """Targets of a regression that lie far from zero or have a very large or small spread."""
    y = look.target
    if y is None or not y.is_floating_point() or len(y) < ENOUGH or not torch.isfinite(y).all():
        return
    if look.output is None or y.numel() != look.output.numel() or _constant(y):
        return
    y = y.double().flatten(1) if y.ndim > 1 else y.double()[:, None]
    spread, mean = float(y.std(0).median()), float(y.mean(0).abs().median())
    if spread > LARGE or 0 < spread < SMALL or mean > OFFSET * spread > 0:
        yield Mechanism(
            "targets of wild scale",
            f"The targets lie at {mean:.3g} with a spread of {spread:.2g}, where initialisation "
            "gives outputs of about 1 around 0.",
            "y = (y - y.mean(0)) / y.std(0)",
        )


def _constant(x: Tensor) -> bool:
    return bool((x == x[:1]).all())


def _often_moves(x: Tensor) -> Tensor:
    """Which columns differ from their commonest value in at least a tenth of the examples."""
    return (x != x.mode(0).values).double().mean(0) >= 0.1


def _normalises_first(model: nn.Module) -> bool:
    """Whether the first layer of all is a normalisation, which makes the inputs' scale moot."""
    for module in model.modules():
        if next(module.children(), None) is None:
            return isinstance(
                module,
                nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm,
            )
    return False
