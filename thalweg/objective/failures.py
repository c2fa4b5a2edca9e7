"""Why a model cannot be evaluated, in one sentence."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from thalweg.errors import DataError, ModelError
from thalweg.objective.examples import batch_length
from thalweg.objective.graph import nodes

__all__ = ["explained", "first_line", "refuse_hidden_weights", "shape_of", "was_evaluated"]

RAISED = "the loss cannot be evaluated"


def explained(
    error: Exception, batch: Any, dtype: torch.dtype, pairs: bool
) -> ModelError | DataError:
    """The library's error for what a model or a loss raised on a batch.

    Args:
        error: what was raised.
        batch: on what.
        dtype: of the model's weights.
        pairs: whether the batch is (input, target).
    """
    leaves = tree_flatten(batch[0] if pairs else batch)[0]
    inputs = next((leaf for leaf in leaves if isinstance(leaf, Tensor)), None)
    reason = first_line(error)
    if inputs is not None and inputs.dtype != dtype and _about_types(reason):
        return DataError(
            f"inputs must be {_name(dtype)} like the model's weights, but are "
            f"{_name(inputs.dtype)}: convert them with .to({dtype})"
        )
    shape = f" (input of shape {tuple(inputs.shape)})" if inputs is not None else ""
    return ModelError(f"{RAISED} on a batch of train{shape}: {reason}")


def was_evaluated(error: BaseException) -> bool:
    """Whether an error of the library's is :func:`explained`: the model or the loss raised it."""
    told = isinstance(error, ModelError) and str(error).startswith(RAISED)
    return told and error.__cause__ is not None


def first_line(error: BaseException) -> str:
    """What an error says, in one line: its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def refuse_hidden_weights(loss: Tensor, slopes: Sequence[Tensor | None]) -> None:
    """Refuse a graph that hides weights: they would seem to have no gradient.

    Raises:
        ModelError: activation checkpointing of the kind that only ``backward()`` sees through.
    """
    if all(slope is not None for slope in slopes):
        return
    if any(node.name() == "CheckpointFunctionBackward" for node in nodes(loss)):
        raise ModelError(
            "model must call checkpoint with use_reentrant=False, not True, which hides its weights "
            "from every gradient but that of backward()"
        )


def _about_types(reason: str) -> bool:
    words = reason.lower()
    return "dtype" in words or "scalar type" in words or "input type" in words


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def shape_of(batch: Any) -> str:
    """The kind of a batch and the number of its examples, in words."""
    try:
        return f"{type(batch).__name__} of {batch_length(batch)} examples"
    except DataError:
        return type(batch).__name__
