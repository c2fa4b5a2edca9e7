"""How much memory the graph of a loss takes, measured on a few examples."""

from typing import Any

import torch
from torch import Tensor

from thalweg.errors import ModelError
from thalweg.objective.failures import refuse_hidden_weights

__all__ = ["graph_bytes"]


def graph_bytes(objective: Any, point: Tensor, count: int) -> int:
    """Bytes that autograd saves for the gradient of the first ``count`` examples of a Supervised."""
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # or an address would be given out, and counted, twice

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with (
        torch.enable_grad(),
        objective.placed.at(point, objective.mode, objective.seed) as parameters,
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
    ):
        loss = objective.batch_loss(objective.first_batch(count))
        if not loss.requires_grad:
            raise ModelError("loss must depend on the model's parameters, but does not")
        try:
            slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
            refuse_hidden_weights(loss, slopes)
            factor = 1
        except (RuntimeError, NotImplementedError):
            factor = 3
    return factor * sum(sizes.values())
