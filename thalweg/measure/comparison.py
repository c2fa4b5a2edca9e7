"""Two minima side by side: their losses, what they predict, how sure they are, how far they lie apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.estimate import LOSS_COST, Estimate
from thalweg.measure.plain import plain
from thalweg.measure.rises import Rises
from thalweg.objective.supervised import Supervised

__all__ = ["Comparison", "Minimum", "compare"]


@dataclass(frozen=True)
class Minimum:
    """What one of two points is like.

    Attributes:
        loss: on the training examples.
        test_loss: on held-out ones; NaN without.
        accuracy, test_accuracy: share of examples whose class is predicted; NaN of what predicts none.
        margin: median of the output for the true class less the largest of the others, over the
            training examples.
    """

    loss: Estimate
    test_loss: Estimate
    accuracy: Estimate
    test_accuracy: Estimate
    margin: Estimate


@dataclass(frozen=True)
class Comparison:
    """Two points of one network.

    Attributes:
        first, second: each by itself.
        agreement, test_agreement: share of examples for which both predict the same class.
        distance: ‖a − b‖.
        cosine: of the angle between a and b, as seen from the origin.
        chance: the share of held-out (else training) examples on which two predictors with these
            accuracies would agree if they were wrong independently and alike over all other classes.
    """

    first: Minimum
    second: Minimum
    agreement: Estimate
    test_agreement: Estimate
    distance: Estimate
    cosine: Estimate
    chance: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain data; None for what is not finite."""
        own = {name: vars(getattr(self, name)) for name in ("first", "second")}
        rest = {name: value for name, value in vars(self).items() if name not in own}
        return plain({**own, **rest})


def compare(
    objective: Supervised, first: Tensor, second: Tensor, *, test: Any = None
) -> Comparison:
    """Losses, predictions and margins of two points of a network.

    Classes are read from outputs with one number for each class beside whole-number targets (or
    targets of one 1 among zeros), or with one number an example beside targets of 0 and 1. Of other
    tasks shares and margins are NaN.

    Args:
        first, second: shape ``(dim,)``.
        test: held-out examples in any form; they count as a sample, so that their shares have errors.

    Returns:
        Numbers on the training examples are exact, or have the error of a draw where these are a
        sample. Cost: a third of an evaluation for each loss, and as much for the predictions.
    """
    held_out = None if test is None else objective.on(test)
    both, other = [], []
    minima = []
    for point in (first, second):
        here = _Predicted.at(objective, point)
        there = None if held_out is None else _Predicted.at(held_out, point)
        both.append(here)
        other.append(there)
        unknown = Estimate(math.nan, math.nan)
        minima.append(
            Minimum(
                Rises(objective, point).loss,
                unknown if held_out is None else _held_out_loss(held_out, point),
                _share(here.right, objective.data.length / objective.data.population),
                unknown if there is None else _share(there.right, 0.0),
                _median(here.margins),
            )
        )
    kept = objective.data.length / objective.data.population
    agreement = _agreement(both[0], both[1], kept)
    test_agreement = Estimate(math.nan, math.nan)
    if other[0] is not None and other[1] is not None:
        test_agreement = _agreement(other[0], other[1], 0.0)
    a, b = first.double(), second.double()
    lengths = float(a.norm() * b.norm())
    judged = "test_accuracy" if held_out is not None else "accuracy"
    shares = [getattr(minimum, judged).value for minimum in minima]
    return Comparison(
        minima[0],
        minima[1],
        agreement,
        test_agreement,
        Estimate(float((a - b).norm()), 0.0, "unit"),
        Estimate(float(a @ b) / lengths if lengths else math.nan),
        Estimate(_by_chance(shares[0], shares[1], both[0].classes)),
    )


@dataclass(frozen=True)
class _Predicted:
    """Predicted classes, whether they are right, and margins, a number for each prediction."""

    predicted: Tensor
    right: Tensor
    margins: Tensor
    classes: int

    @classmethod
    def at(cls, objective: Supervised, point: Tensor) -> "_Predicted":
        none = torch.empty(0)
        if objective.pair_loss is None:
            return cls(none, none, none, 0)
        parts = [_read(output, target) for output, target in objective.outputs(point)]
        if any(part is None for part in parts):
            return cls(none, none, none, 0)
        known = [part for part in parts if part is not None]
        predicted = torch.cat([part[0] for part in known])
        right, margins = torch.cat([part[1] for part in known]), torch.cat([p[2] for p in known])
        return cls(predicted, right, margins, known[0][3])


def _read(output: Any, target: Any) -> tuple[Tensor, Tensor, Tensor, int] | None:
    """Predictions, whether right, margins and the number of classes; None where there are no classes."""
    if isinstance(output, Mapping):
        output = output.get("logits")
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.ndim == 0:
        return None
    output, target = output.detach().cpu(), target.detach().cpu()
    if not target.is_floating_point():
        scores = _classes_last(output, target)
        if scores is None:
            return None
        rows, wanted = scores.reshape(-1, scores.shape[-1]), target.reshape(-1).long()
        inside = (wanted >= 0) & (wanted < rows.shape[1])  # what the loss ignores has no class
        rows, wanted = rows[inside], wanted[inside]
    elif output.shape == target.shape and output.ndim == 2 and output.shape[1] > 1:
        if not bool(((target == 0) | (target == 1)).all() and (target.sum(1) == 1).all()):
            return None
        rows, wanted = output, target.argmax(1)
    elif output.numel() == target.numel() and bool(((target == 0) | (target == 1)).all()):
        single = output.reshape(-1)
        rows, wanted = torch.stack([-single / 2, single / 2], 1), target.reshape(-1).long()
    else:
        return None
    own = rows.gather(1, wanted[:, None])[:, 0]
    others = rows.scatter(1, wanted[:, None], -math.inf).max(1).values
    predicted = rows.argmax(1)
    return predicted, predicted == wanted, (own - others).double(), rows.shape[1]


def _classes_last(output: Tensor, target: Tensor) -> Tensor | None:
    if output.ndim != target.ndim + 1:
        return None
    if (output.shape[0], *output.shape[2:]) == tuple(target.shape):
        return output.movedim(1, -1)
    return output if output.shape[:-1] == target.shape else None


def _agreement(one: _Predicted, other: _Predicted, kept: float) -> Estimate:
    return _share(one.predicted == other.predicted, kept)


def _share(which: Tensor, kept: float) -> Estimate:
    """A share of ``which``, drawn without replacement from so many that they are the part ``kept``."""
    count = len(which)
    if not count:
        return Estimate(math.nan, math.nan)
    share = float(which.double().mean())
    fair = (share * count + 2) / (count + 4)
    error = math.sqrt(fair * (1 - fair) / (count + 4) * (1 - kept))
    return Estimate(share, error, "of the examples", LOSS_COST)


def _median(values: Tensor) -> Estimate:
    return Estimate(float(values.median()) if len(values) else math.nan)


def _held_out_loss(held_out: Supervised, point: Tensor) -> Estimate:
    """With the error that its examples have as a sample of more, by the scatter of their parts.

    A model that normalises by batches is taken with whole ones: parts have other statistics, whose
    scatter is the larger.
    """
    size = max(1, min(held_out.chunk, held_out.data.length // 16))
    losses, weights = held_out.on(held_out.data, chunk=size, decay=False).chunk_losses(point)
    mean, count = float(losses @ weights), len(losses)
    spread = float(weights @ (losses - mean) ** 2)
    error = math.sqrt(spread / (count - 1)) if count > 1 else math.inf
    if held_out.mode == "batch":
        whole, shares = held_out.chunk_losses(point)
        mean = float(whole @ shares)
    return Estimate(mean, error, "loss", LOSS_COST)


def _by_chance(one: float, other: float, classes: int) -> float:
    if classes < 2 or not math.isfinite(one + other):
        return math.nan
    return one * other + (1 - one) * (1 - other) / (classes - 1)
