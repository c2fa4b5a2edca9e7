"""A checkpoint: everything that a training needs to go on as if nothing had happened."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import FolderError
from thalweg.record.weights import load_weights, read_plain, read_weights, write_weights
from thalweg.run.random_state import RandomState

__all__ = [
    "Generators",
    "checkpoint_at",
    "read_checkpoint",
    "remove_checkpoint",
    "write_checkpoint",
]

WEIGHTS, REST = "model.safetensors", "optimizer.pt"


class Stateful(Protocol):
    """What can be put back, such as a ``torch.Generator``; its state is plain data."""

    def get_state(self) -> Any: ...
    def set_state(self, state: Any, /) -> Any: ...


Generators = Mapping[str, Stateful]


def write_checkpoint(
    target: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any = None,
    random_state: RandomState | None = None,
    generators: Generators | None = None,
) -> None:
    """Write the folder ``target``: under another name first, then renamed.

    Raises:
        FolderError: a state that is not plain data, and would need code to be read.
        OSError: the folder cannot be written.
    """
    state = model.state_dict()
    rest = {
        "optimizer": optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "random_state": _random_to_plain(random_state or RandomState.now()),
        "generators": {name: g.get_state() for name, g in (generators or {}).items()},
        "extra": {name: v for name, v in state.items() if not isinstance(v, Tensor)},
    }
    plain = _plain(rest, "state")
    target.parent.mkdir(parents=True, exist_ok=True)
    building = _building(target)
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir()
        write_weights(building / WEIGHTS, state)
        try:
            torch.save(plain, building / REST)
        except RuntimeError as error:  # torch's writer says so where the disk is full
            raise OSError(f"{target} cannot be written: {error}") from error
        _replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def read_checkpoint(
    source: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    *,
    random_state: bool = False,
    generators: Generators | None = None,
) -> None:
    """Put a checkpoint into the objects given; the rest of it is left alone.

    Args:
        source: the folder that :func:`write_checkpoint` wrote.
        model: whose weights and buffers are set.
        optimizer: whose state is set, if given; likewise ``scheduler`` and ``generators``.
        random_state: also set the global random states, so that training goes on to the bit.

    Raises:
        FolderError: a checkpoint that does not fit, cannot be read, or carries code.
    """
    rest = read_plain(source / REST)
    if not isinstance(rest, dict) or not {"optimizer", "scheduler", "extra"} <= rest.keys():
        raise FolderError(f"checkpoint {source} cannot be read: {REST} is not of thalweg")
    load_weights(model, {**read_weights(source / WEIGHTS), **rest["extra"]}, source)
    for name, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        if target is None:
            continue
        if rest[name] is None:
            raise FolderError(f"checkpoint {source} holds no state of a {name}")
        try:
            target.load_state_dict(rest[name])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FolderError(
                f"checkpoint {source} does not fit the {name}: {error or type(error).__name__}"
            ) from error
    for name, generator in (generators or {}).items():
        if name in rest["generators"]:
            generator.set_state(rest["generators"][name])
    if random_state:
        _random_from_plain(rest["random_state"]).restore()


def checkpoint_at(folder: Path) -> Path | None:
    """Where a checkpoint that is named ``folder`` stands, if it does."""
    old = _replaced(folder)
    return folder if folder.is_dir() else old if old.is_dir() else None


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint that is named ``folder``: first from sight, whole, then from disk."""
    found = checkpoint_at(folder)
    if found is not None:
        building = _building(folder)
        shutil.rmtree(building, ignore_errors=True)
        os.rename(found, building)
        shutil.rmtree(building)


def _building(target: Path) -> Path:
    return target.parent / f".{target.name}.building"


def _replaced(target: Path) -> Path:
    return target.parent / f".{target.name}.replaced"


def _replace(building: Path, target: Path) -> None:
    """Rename over what may be there; a folder cannot be replaced in one step."""
    if not target.exists():
        os.rename(building, target)
        return
    old = _replaced(target)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(target, old)  # from here to the next line only `old` is there: readers look for it
    os.rename(building, target)
    shutil.rmtree(old, ignore_errors=True)


def _random_to_plain(state: RandomState) -> dict[str, Any]:
    kind, keys, *others = state.numpy
    return {
        "torch": state.torch,
        "cuda": list(state.cuda),
        "numpy": [kind, keys.tolist(), *others],
        "python": state.python,
    }


def _random_from_plain(plain: dict[str, Any]) -> RandomState:
    kind, keys, *others = plain["numpy"]
    return RandomState(
        plain["torch"],
        tuple(plain["cuda"]),
        (kind, np.array(keys, dtype=np.uint32), *others),
        plain["python"],
    )


def _plain(value: Any, where: str) -> Any:
    """The same as tensors, numbers, texts and containers of them; FolderError for anything else."""
    if isinstance(value, Tensor):
        tensor = value.detach()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return tensor.cpu() if whole else tensor.cpu().clone()
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | bytes | torch.dtype):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)  # a subclass, such as a member of an enumeration, is code
    if isinstance(value, Mapping):
        kept = {_plain(k, where): _plain(v, f"{where}.{k}") for k, v in value.items()}
        return Counter(kept) if isinstance(value, Counter) else kept
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return kind(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    raise FolderError(
        f"{where} must be plain data to be saved without code, not {type(value).__name__}"
    )
