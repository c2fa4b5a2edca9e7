"""Whether what is trained can do no more than shift the output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from thalweg.diagnose.checks.look import SEED, Look
from thalweg.objective.placed import Placed

__all__ = ["OFFSET", "only_offset"]

SAME = 1e-3
"""Difference between examples, as a share of the change of the output, that is only rounding."""

OFFSET = (
    "What is trained can only add the same to the output of every example: nothing that the inputs "
    "say can be learnt"
)


def only_offset(look: Look, moved: Sequence[Tensor]) -> bool:
    """Whether all that moving these parameters does is to add one and the same to every output.

    Tried by a fixed draw as large as they are; False where the output cannot be seen, or is still.
    """
    if look.output is None or len(look.output) < 2:
        return False
    there = _output(look, {id(p) for p in moved})
    if there is None or there.shape != look.output.shape:
        return False
    change = (there - look.output.detach()).double()
    size = float(change.abs().max())
    return 0 < size < float("inf") and float((change - change[:1]).abs().max()) < SAME * size


def _output(look: Look, moved: set[int]) -> Tensor | None:
    placed = Placed(look.model, restore=True)
    generator = torch.Generator().manual_seed(SEED)
    try:
        with torch.no_grad(), placed.at(placed.point(), "eval", SEED):
            for p in placed.parameters:
                if id(p) in moved:
                    noise = torch.randn(p.shape, generator=generator).to(p)
                    p.add_(noise * (p.square().mean().sqrt() + 0.1))
            found = look.model(look.batch[0])
    except Exception:
        return None
    return found if isinstance(found, Tensor) else None
