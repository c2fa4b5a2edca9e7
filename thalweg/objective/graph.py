"""The nodes of an autograd graph."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

__all__ = ["has_functions_of_its_own", "nodes"]


def nodes(tensor: Tensor) -> Iterator[Any]:
    """Every node of the graph that a tensor was computed by, once."""
    seen, ahead = set(), [tensor.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            ahead += [further for further, _ in node.next_functions]


def has_functions_of_its_own(loss: Tensor) -> bool:
    """Whether a graph has a ``torch.autograd.Function``, whose second derivative may be missing.

    It may be so without an error: what is marked as differentiable once, or computes its gradient
    outside torch, counts as constant.
    """
    return any(isinstance(node, BackwardCFunction) for node in nodes(loss))
