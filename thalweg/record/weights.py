"""Weights on disk: safetensors, each shared tensor once, and never any code."""

import json
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from thalweg.errors import FolderError

__all__ = ["load_weights", "read_plain", "read_weights", "write_weights"]

CODE = re.compile(r"GLOBAL ([\w.]+)")
NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the weights in a checkpoint that holds more."""


def write_weights(path: Path, state: Mapping[str, Any]) -> None:
    """Write the tensors of a state dict; what is no tensor is left out.

    Two names of one tensor are written once, and the second name is noted in the metadata.

    Raises:
        FolderError: a tensor of a kind that safetensors has no form for (sparse, complex128).
        OSError: the file cannot be written.
    """
    own: dict[tuple[Any, ...], str] = {}
    storages: set[int] = set()
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            continue
        tensor = value.detach()
        if tensor.layout is not torch.strided:
            raise FolderError(f"{name} must be a dense tensor to be saved, not {tensor.layout}")
        storage = tensor.untyped_storage().data_ptr()
        place = (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in own:
            aliases[name] = own[place]
            continue
        own[place] = name
        kept = tensor.cpu().contiguous()
        # safetensors refuses tensors that overlap, such as two views of one storage.
        tensors[name] = kept.clone() if storage in storages else kept
        storages.add(storage)
    metadata = {"format": "pt", "aliases": json.dumps(aliases)}
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    except (ValueError, KeyError) as error:
        raise FolderError(f"the weights cannot be saved as safetensors: {error}") from error


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the processor.

    Args:
        path: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file with a state dict (by itself or
            under ``state_dict``, ``model_state_dict`` or ``model``), or a folder with a
            ``model.safetensors``.

    Raises:
        FolderError: no such file, one that cannot be read, one that carries code, or one that
            holds no tensors by name.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise FolderError(f"checkpoint {path} does not exist")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_plain(path)
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise FolderError(
            f"checkpoint {path} must hold tensors by name, but holds a {type(content).__name__}"
        )
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise FolderError(f"checkpoint {path} must hold tensors by name, but holds none")
    return tensors


def load_weights(model: nn.Module, weights: Mapping[str, Any], source: Path | str) -> None:
    """Put weights into a model, all of them or none.

    Raises:
        FolderError: names or shapes that differ; the sentence names the first and both shapes.
    """
    own = model.state_dict()
    for name, value in own.items():
        if name not in weights:
            raise FolderError(
                f"checkpoint {source} does not fit the model: it has no {name}, "
                f"which has shape {_shape(value)} in the model"
            )
        if _shape(weights[name]) != _shape(value):
            raise FolderError(
                f"checkpoint {source} does not fit the model: {name} has shape "
                f"{_shape(weights[name])} in the checkpoint and {_shape(value)} in the model"
            )
    for name in weights:
        if name not in own:
            raise FolderError(
                f"checkpoint {source} does not fit the model: it has {name} of shape "
                f"{_shape(weights[name])}, which the model has not"
            )
    model.load_state_dict(dict(weights))


def read_plain(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is plain data; nothing in the file is ever run.

    Raises:
        FolderError: no such file, one that cannot be read, or one that carries code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocols of foreign pickles
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _code_in(path, str(error))
        if named is None:
            raise FolderError(f"checkpoint {path} cannot be read: it is no torch file") from error
        raise FolderError(
            f"checkpoint {path} carries code ({named}), which is never run: "
            "save model.state_dict() instead"
        ) from error
    except OSError as error:
        raise FolderError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise FolderError(
            f"checkpoint {path} cannot be read: it is damaged or no torch file"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        aliases = json.loads(metadata.get("aliases", "{}"))
        return tensors | {name: tensors[own] for name, own in aliases.items()}
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise FolderError(f"checkpoint {path} cannot be read: {error}") from error


def _code_in(path: Path, message: str) -> str | None:
    """What a pickle would import, read without running it; None where it imports nothing."""
    named = CODE.search(message)
    if named is not None:
        return named[1]
    try:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                content = archive.read(inside)
        texts: list[str] = []
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if operation.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return None
    return None


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
