"""Whether the model stands in the mode that training needs, and the modes agree."""

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.checks.look import Look, mode_dependent
from thalweg.diagnose.finding import Mechanism

__all__ = ["disagreement", "evaluation_mode"]

SETTLED = 20
"""Batches after which running statistics with the usual momentum 0.1 have forgotten their start."""

APART = 2.0
"""Ratio of two losses of the same examples in two modes that is worth saying."""

DROPOUT_APART = 5.0
"""The same for dropout, which raises the loss in training by its nature."""


def evaluation_mode(look: Look) -> Iterator[Mechanism]:
    """A model that is trained in evaluation mode though it has layers that behave otherwise."""
    layers = list(mode_dependent(look.model))
    if look.model.training or not layers or any(layer.training for layer in layers):
        return
    kinds = sorted({type(layer).__name__ for layer in layers})
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm)]
    untouched = bool(norms) and all(_untouched(norm) for norm in norms)
    yield Mechanism(
        "evaluation mode",
        f"The model stands in evaluation mode, in which {', '.join(kinds)} do not do what they do "
        "in training"
        + (
            "; the running statistics are still those of a new layer, so nothing is normalised."
            if untouched
            else "."
        ),
        "model.train()  # before the training loop",
        Cause.MISWIRED if untouched else None,
    )


def disagreement(look: Look) -> Iterator[Mechanism]:
    """Dropout or BatchNorm for which the same examples cost much more in one mode."""
    plain, batch, train = look.eval_loss, look.batch_loss, look.train_loss
    if plain is None or batch is None or train is None:
        return
    if not all(math.isfinite(v) and v > 0 for v in (plain, batch, train)):
        return
    norms = [m for m in look.model.modules() if isinstance(m, _BatchNorm)]
    settled = [m for m in norms if m.track_running_stats and _batches(m) >= SETTLED]
    if settled and max(plain / batch, batch / plain) > APART:
        yield Mechanism(
            "batch statistics that disagree",
            f"The same examples cost {plain:.4g} with BatchNorm's running statistics and "
            f"{batch:.4g} with those of the batch.",
            "torch.optim.swa_utils.update_bn(loader, model)"
            "  # and larger batches, or torch.nn.GroupNorm",
        )
    if train / batch > DROPOUT_APART:
        yield Mechanism(
            "dropout outweighs the loss",
            f"The same examples cost {train:.4g} with dropout and {batch:.4g} without: most of the "
            "training loss is the noise of dropout.",
            "torch.nn.Dropout(0.1)  # or as much less as the model needs",
        )


def _untouched(norm: nn.Module) -> bool:
    mean, variance = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    if mean is None or variance is None:
        return False
    return bool(torch.all(mean == 0)) and bool(torch.all(variance == 1))


def _batches(norm: nn.Module) -> int:
    count = getattr(norm, "num_batches_tracked", None)
    return 0 if count is None else int(count)
