"""Predictions of several states of one model, averaged: what an ensemble of snapshots answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from thalweg.errors import UsageError
from thalweg.objective.supervised import Supervised

__all__ = ["Loss", "State", "average", "ensemble_value", "evaluating", "flat", "loss_of_states"]

State = dict[str, Tensor]
"""Parameters and buffers by name, as ``state_dict`` gives them."""

Loss = Callable[[Any, Any], Tensor]

OF_LOGITS = (F.cross_entropy, nn.CrossEntropyLoss)
OF_LOG_PROBABILITIES = (F.nll_loss, nn.NLLLoss)
OF_ONE_LOGIT = (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss)


def average(outputs: Sequence[Any], loss: Loss) -> Any:
    """The mean prediction of several outputs, each a tensor or a structure of tensors.

    What a loss of torch's takes for logits or log-probabilities is averaged as the probabilities
    that it stands for, and given back as such logarithms: cross-entropy of the result is that of the
    mean probabilities. Any other output is averaged as it is.
    """
    kinds = (loss, type(loss))
    rule = _mean
    if any(kind in OF_LOGITS for kind in kinds):
        rule = _mean_of_logits
    elif any(kind in OF_LOG_PROBABILITIES for kind in kinds):
        rule = _log_mean_exp
    elif any(kind in OF_ONE_LOGIT for kind in kinds):
        rule = _mean_of_one_logit
    return tree_map(lambda *leaves: rule(torch.stack(leaves)), outputs[0], *outputs[1:])


def _mean(stacked: Tensor) -> Tensor:
    return stacked.mean(0)


def _log_mean_exp(stacked: Tensor) -> Tensor:
    return stacked.logsumexp(0) - torch.tensor(len(stacked)).log()


def _mean_of_logits(stacked: Tensor) -> Tensor:
    return _log_mean_exp(stacked.log_softmax(1 if stacked.ndim == 2 else 2))


def _mean_of_one_logit(stacked: Tensor) -> Tensor:
    return _log_mean_exp(F.logsigmoid(stacked)) - _log_mean_exp(F.logsigmoid(-stacked))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; what a forward pass leaves behind is taken back."""
    modules = list(model.modules())
    attributes = [(vars(m), dict(vars(m))) for m in modules]
    buffers = [(m._buffers, dict(m._buffers)) for m in modules]
    copies: dict[int, Tensor] = {}  # a buffer may be held twice
    try:
        for module in modules:  # not by eval(), which some models override to change weights
            module.training = False
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = copies.setdefault(id(buffer), buffer.clone())
        yield
    finally:
        for now, kept in (*attributes, *buffers):
            now.clear()
            now.update(kept)


def flat(model: nn.Module, state: State) -> Tensor:
    """The trainable parameters of a state as one flat point."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    return torch.cat([state[name].detach().reshape(-1) for name in names])


def loss_of_states(
    model: nn.Module, states: Sequence[State], loss: Loss | None, whole: Callable[[Any], Tensor]
) -> Callable[[Any], Tensor]:
    """The loss of a batch where ``states`` answer in turn and their predictions are averaged.

    Args:
        model: its parameters and buffers are as before after each call.
        loss: of output and target; where there is none, a single state can answer only.
        whole: the loss of a batch at the state where the model stands.

    Raises:
        UsageError: several states, and no loss of output and target.
    """
    if loss is None and len(states) > 1:
        raise UsageError("an average of predictions needs loss(output, target), not batch_loss")

    def value(batch: Any) -> Tensor:
        kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = []
        try:
            for state in states:
                model.load_state_dict(state)
                found.append(whole(batch) if len(states) == 1 else model(batch[0]))
        finally:
            model.load_state_dict(kept)
        if len(states) == 1:
            return found[0]
        assert loss is not None
        return loss(average(found, loss), batch[1])

    return value


def ensemble_value(objective: Supervised, points: Sequence[Tensor]) -> float:
    """The loss of the mean prediction at several points, and the mean of their weight decay.

    Raises:
        UsageError: several points, and an objective without ``loss(output, target)``.
    """
    if len(points) == 1:
        return objective.value(points[0])
    loss = objective.pair_loss
    if loss is None:
        raise UsageError("an average of predictions needs loss(output, target), not batch_loss")
    total, seen = 0.0, 0
    for parts in zip(*[list(objective.outputs(point)) for point in points], strict=True):
        target = parts[0][1]
        batch = average([output for output, _ in parts], loss), target
        length = len(target)
        value = objective.reduction.mean(lambda b: loss(b[0], b[1]), batch, objective.unit)
        total += float(value) * length
        seen += length
    decay = [float(0.5 * (objective.decay * p * p).sum()) for p in points]
    return total / seen + sum(decay) / len(decay)
