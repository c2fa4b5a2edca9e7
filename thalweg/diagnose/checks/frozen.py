"""Parameters that require no gradient, and whether that is what holds the training back."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.checks.offset import OFFSET, only_offset
from thalweg.diagnose.finding import Mechanism

__all__ = ["NEARLY_ALL", "frozen", "gradient_share"]

NEARLY_ALL = 0.99
"""Share of the squared gradient: where so much of it lies in parameters that no step moves, those
that are moved have nothing left to gain."""


def frozen(look: Look) -> Iterator[Mechanism]:
    """Frozen parameters.

    They explain being stuck where they are all there is, or where the optimizer holds them, as if
    they were to be trained, and nearly all of the gradient lies in them or the rest is an offset.
    """
    trainable = look.trainable
    still = [p for p in look.model.parameters() if not p.requires_grad]
    if not still:
        return
    if not trainable:
        yield Mechanism(
            "frozen parameters",
            f"None of the model's {len(still)} parameters requires a gradient: nothing is trained.",
            "model.requires_grad_(True)",
            Cause.MISWIRED,
        )
        return
    weights = sum(p.numel() for p in still)
    said = (
        f"{len(still)} of {len(still) + len(trainable)} parameters, {weights / look.size:.0%} of "
        f"the weights, require no gradient and stay as they are: {look.named(still)}."
    )
    held = {id(p) for p in look.held}
    kept = [p for p in still if id(p) in held]
    share = gradient_share(*look.gradients_with(kept), kept) if kept else 0.0
    if share > NEARLY_ALL:
        said += (
            f" The optimizer holds {len(kept)} of them, and {share:.1%} of the squared gradient "
            "would lie in them."
        )
    offset = bool(kept) and only_offset(look, look.trainable)
    if offset:
        said += f" {OFFSET}."
    enough = share > NEARLY_ALL or offset
    yield Mechanism(
        "frozen parameters",
        said,
        "model.requires_grad_(True)"
        if enough
        else f"model.get_parameter({look.names[id(still[0])]!r}).requires_grad_(True)"
        "  # if it is meant to be trained",
        Cause.MISWIRED if enough else None,
    )


def gradient_share(
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor | None] | None,
    some: Sequence[nn.Parameter],
) -> float:
    """Share of the squared gradient that lies in some of the parameters; 0 where it is unknown."""
    if gradients is None:
        return 0.0
    chosen = {id(p) for p in some}
    inside = whole = 0.0
    for p, slope in zip(parameters, gradients, strict=True):
        square = 0.0 if slope is None else float(slope.double().square().sum())
        whole += square
        inside += square if id(p) in chosen else 0.0
    return inside / whole if whole > 0 else 0.0
