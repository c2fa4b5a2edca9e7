"""Layers that pass nothing on: dead and saturated units, vanishing gradients, constant outputs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import ModelError
from thalweg.estimate import Estimate
from thalweg.measure.activations import Spread, Units, Watch
from thalweg.objective.inner_product import length
from thalweg.objective.supervised import Supervised

__all__ = ["Activation", "LayerReport", "Slope", "layers"]

PARTS = 4
"""Parts of the sample whose gradients differ enough to say how well their mean is known."""

CONSTANT = 1e-2
"""Standard deviation over examples below which an output between two ends says little."""


@dataclass(frozen=True)
class Activation:
    """One call of an activation function, or one recurrent layer.

    Attributes:
        name: of the module, followed by the function's name where it is called in ``forward``.
        kind: the function: ``relu``, ``tanh``, ``lstm``, ...
        units: channels or features; the positions of an image or a sequence count as one.
        dead: share of units whose output and slope are zero wherever they were seen.
        saturated: share of single activations at an end of the function's range.
        stuck: share of units at an end for nearly every example (95% of what they put out).
        spread: standard deviation over examples, relative to the root mean square.
        deviation: the same standard deviation as it is.
        output: whether it is what the model returns.
    """

    name: str
    kind: str
    units: int
    dead: Estimate
    saturated: Estimate
    stuck: Estimate
    spread: Estimate
    deviation: Estimate
    output: bool = False

    @property
    def counts(self) -> bool:
        """Whether being at an end is worth saying.

        It is what a well-trained model's output does, unless it does so for all examples alike.
        """
        return not self.output or self.deviation.value < CONSTANT


@dataclass(frozen=True)
class Slope:
    """The gradient of one parameter tensor beside its size.

    ``ratio`` is ``‖g‖/‖w‖``: of an embedding over the rows that were used; NaN where the tensor is
    zero or the loss does not reach it.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    weight_norm: float
    gradient_norm: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class LayerReport:
    """What was seen of every layer at one point, as numbers without a judgement.

    Attributes:
        activations: in the order in which they were called.
        slopes: the trainable parameters in the order in which their layers were called.
        output_spread: standard deviation of the model's output over examples, relative to its root
            mean square; 0 for an output that does not depend on the input.
        output_deviation: the same standard deviation as it is.
        examples: how many were looked at.
        cost: gradient evaluations over the training data.
    """

    activations: tuple[Activation, ...] = ()
    slopes: tuple[Slope, ...] = ()
    output_spread: Estimate = field(default_factory=lambda: Estimate(math.nan, math.nan))
    output_deviation: Estimate = field(default_factory=lambda: Estimate(math.nan, math.nan))
    examples: int = 0
    cost: float = 0.0

    @property
    def hidden(self) -> tuple[Activation, ...]:
        """The activations other than the model's output."""
        return tuple(a for a in self.activations if not a.output)

    @property
    def dead_share(self) -> Estimate:
        """Share of dead units in the layer that has most; NaN without activations."""
        return max((a.dead for a in self.hidden), key=float, default=Estimate(math.nan, math.nan))

    @property
    def saturated_share(self) -> Estimate:
        """Share of units stuck at an end in the layer that has most; NaN without activations.

        The model's output is left out unless it is the same for all examples.
        """
        counted = [a.stuck for a in self.activations if a.counts]
        return max(counted, key=float, default=Estimate(math.nan, math.nan))

    @property
    def gradient_decay(self) -> Estimate:
        """Median ``‖g‖/‖w‖`` in the first third of the weight matrices over that in the last.

        1: the layers learn alike; 1e-4: the gradient has vanished on its way to the first ones.
        NaN with fewer than two matrices.
        """
        ratios = [s.ratio for s in self.slopes if len(s.shape) > 1]
        ratios = [r for r in ratios if not math.isnan(r.value)]
        if len(ratios) < 2:
            return Estimate(math.nan, math.nan)
        third = max(1, len(ratios) // 3)
        first, last = _median(ratios[:third]), _median(ratios[-third:])
        if last.value == 0:
            return Estimate(math.nan, math.nan)
        value = first.value / last.value
        return Estimate(value, math.hypot(first.error, value * last.error) / last.value)

    def estimates(self) -> Mapping[str, Estimate]:
        """The numbers for an Evidence, by name; the cost is that of the whole report."""
        return {
            "dead_share": self.dead_share,
            "saturated_share": self.saturated_share,
            "gradient_decay": self.gradient_decay,
            "output_spread": Estimate(
                self.output_spread.value, self.output_spread.error, cost=self.cost
            ),
        }


def layers(
    objective: Supervised,
    point: Tensor,
    *,
    examples: int = 256,
    generator: torch.Generator | None = None,
) -> LayerReport:
    """Look at every layer of a model at ``point`` (shape ``(dim,)``) on a sample of the examples.

    A unit is *dead* where its output and its slope are zero for every example (ReLU and its
    smooth relatives; a bounded function has no dead units), *saturated* where the slope of a
    bounded function has all but gone: ``|tanh| > 0.99``, a sigmoid outside ``[0.01, 0.99]``, a hard
    one at its ends. Functions called in ``forward`` are seen as well as modules. What happens inside
    an LSTM or a GRU is read from its output.

    Bias and error: on a sample more units look dead than are. The error of ``dead`` is the share of
    units that fired for a single example (Good, 1953: about as many would fire on a second sample);
    that of a gradient's norm comes from the spread over parts of the sample. Both are 0 where all
    examples were looked at.

    Cost: one gradient over the sample: ``examples / n``. Memory: the graph of a quarter of it.

    Raises:
        ModelError: the loss does not depend on the parameters.
    """
    objective.check_points(point)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    sample = objective.data.subsample(examples, generator)
    rows = len(sample)
    objective = objective.on(
        sample, chunk=min(math.ceil(rows / PARTS), objective.chunk), decay=False
    )
    model, parameters = objective.placed.model, objective.placed.parameters
    sums = [torch.zeros_like(p) for p in parameters]
    squares = torch.zeros(len(parameters), dtype=torch.float64)
    reached = [False] * len(parameters)
    watch, parts = Watch(model), 0
    with (
        torch.enable_grad(),
        objective.placed.at(point, objective.mode, objective.seed) as placed,
    ):
        for batch, weight in objective.weighted_chunks():
            with watch.looking():
                loss = objective.batch_loss(batch)
            if not loss.requires_grad:
                raise ModelError("loss must depend on the model's parameters, but does not")
            slopes = torch.autograd.grad(loss, placed, allow_unused=True)
            for i, slope in enumerate(slopes):
                if slope is not None:
                    slope = slope.to_dense() if slope.is_sparse else slope
                    reached[i] = True
                    sums[i].add_(slope, alpha=weight)
                    squares[i] += weight * length(slope) ** 2
            parts += 1
        norms = [_weight_norm(model, p, g) for p, g in zip(placed, sums, strict=True)]
    whole = len(sample) == objective.data.population
    return LayerReport(
        activations=tuple(_activation(units, whole) for units in watch.units()),
        slopes=_slopes(watch, objective, sums, squares, reached, norms, 0 if whole else parts),
        output_spread=_spread(watch.output),
        output_deviation=Estimate(math.nan if watch.output is None else watch.output.deviation),
        examples=rows,
        cost=rows / objective.data.population,
    )


def _activation(units: Units, whole: bool) -> Activation:
    count = units.count
    return Activation(
        name=units.name,
        kind=units.kind,
        units=count,
        dead=Estimate(units.dead / count, 0.0 if whole else units.fired_once / count),
        saturated=Estimate(units.saturated),
        stuck=Estimate(units.stuck / count),
        spread=_spread(units.spread),
        deviation=Estimate(units.spread.deviation),
        output=units.output,
    )


def _spread(spread: Spread | None) -> Estimate:
    return Estimate(math.nan, math.nan) if spread is None else Estimate(spread.relative)


def _slopes(
    watch: Watch,
    objective: Supervised,
    sums: list[Tensor],
    squares: Tensor,
    reached: list[bool],
    norms: list[float],
    parts: int,
) -> tuple[Slope, ...]:
    names = {id(p): name for name, p in objective.placed.model.named_parameters()}
    found = []
    for i, parameter in enumerate(objective.placed.parameters):
        name = names[id(parameter)]
        norm, error = length(sums[i]), 0.0
        if parts > 1:
            error = math.sqrt(max(float(squares[i]) - norm**2, 0.0) / (parts - 1))
        elif parts == 1:
            error = math.nan
        known = reached[i] and norms[i] > 0
        slope = Slope(
            name,
            name.rpartition(".")[0],
            tuple(parameter.shape),
            norms[i],
            Estimate(norm, error),
            Estimate(norm / norms[i], error / norms[i]) if known else Estimate(math.nan, math.nan),
        )
        found.append((watch.place_of(slope.layer), i, slope))
    return tuple(slope for *_, slope in sorted(found, key=lambda entry: entry[:2]))


def _weight_norm(model: nn.Module, parameter: Tensor, slope: Tensor) -> float:
    """Norm of a parameter; of an embedding, of the rows that the gradient touches."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight is parameter:
            used = slope.ne(0).any(1)
            return length(parameter.detach()[used])
    return length(parameter.detach())


def _median(ratios: list[Estimate]) -> Estimate:
    value = median(r.value for r in ratios)
    nearest: Any = min(ratios, key=lambda r: abs(r.value - value))
    return Estimate(value, nearest.error)
