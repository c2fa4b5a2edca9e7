"""What a watcher reads from the training around it: parameters, loader, ranks."""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError

__all__ = ["epoch_of", "facts_of", "is_first", "watched_parameters"]


def watched_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer trains, by its names in the model, in the model's order.

    Raises:
        UsageError: it trains no parameter of the model.
    """
    trained = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    names = {id(p): name for name, p in model.named_parameters()}
    found = {name: trained.pop(key) for key, name in names.items() if key in trained}
    if not found:
        raise UsageError("optimizer must hold parameters of the model, but holds none of them")
    return found | {f"optimizer.{i}": p for i, p in enumerate(trained.values())}


def epoch_of(loader: Any) -> int | None:
    """Batches of an epoch, where the loader knows them."""
    with contextlib.suppress(TypeError, AttributeError, NotImplementedError):
        return len(loader) or None
    return None


def is_first() -> bool:
    """Whether this process is rank 0, or alone."""
    distributed = torch.distributed
    alone = not distributed.is_available() or not distributed.is_initialized()
    return alone or distributed.get_rank() == 0


def facts_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, overhead: float
) -> dict[str, str | int | float | bool]:
    """What the run folder notes of the training."""
    facts: dict[str, str | int | float | bool] = {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "optimizer": type(optimizer).__name__,
        "overhead": overhead,
    }
    batch_size = getattr(loader, "batch_size", None)
    if isinstance(batch_size, int):
        facts["batch_size"] = batch_size
    with contextlib.suppress(TypeError, AttributeError):
        facts["examples"] = len(loader.dataset)
    epoch = epoch_of(loader)
    if epoch is not None:
        facts["steps_an_epoch"] = epoch
    return facts
