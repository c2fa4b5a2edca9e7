"""Mechanisms read from what was measured of the layers, a constant predictor and the labels.

None of them explains a cause by itself: a well-trained network has dead units too, and a loss at
that of a constant may be a saddle, a plateau, or labels that say nothing. They are signs.
"""

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from thalweg.diagnose.finding import Mechanism
from thalweg.diagnose.phrases import stated
from thalweg.estimate import Estimate
from thalweg.measure.layers import Activation, LayerReport
from thalweg.objective.supervised import Supervised
from thalweg.task import Task

__all__ = ["check_state"]

MOST_UNITS = 0.5
"""Share of a layer's units, dead or stuck, from which the layer says less than half of what it
could."""

FEWEST = 4
"""Examples below which a unit that is zero for all of them says nothing."""

VANISHED = 1e-3
"""Ratio of ‖g‖/‖w‖ between first and last layers: at a rate that suits the last the first stand."""

CONSTANT = 1e-3
"""Standard deviation of the outputs over examples, relative to their size, or as it is where they
are scores of classes: probabilities then differ by less."""

CONSTANT_NUMBERS = 1e-2
"""The same of a regression, relative to the standard deviation of the targets."""

MARGIN = 0.005
"""Share of a constant's loss by which a model must beat it to be said to have learnt anything."""

NO_SIGNAL = 0.05
"""Share of the targets' variance: less than that, error included, is no signal to speak of."""

LEARNT = 0.5
"""Share of one batch's loss that must be trained away to say that the batch can be learnt."""

UNKNOWN = Estimate(math.nan, math.nan)


def check_state(
    task: Task,
    objective: Supervised,
    report: LayerReport,
    constant: Estimate,
    *,
    loss: Estimate | None = None,
    signal: Estimate = UNKNOWN,
    one_batch: Mapping[str, Estimate] | None = None,
) -> tuple[Mechanism, ...]:
    """Signs in the layers, the outputs and the labels; none has ``explains``.

    Args:
        report: of :func:`thalweg.measure.layers.layers`, where the model stands.
        constant: of :func:`thalweg.measure.fit.constant_loss`.
        loss: the training loss without weight decay; measured here where it is not given.
        signal: of :func:`thalweg.measure.signal.label_signal`.
        one_batch: of :func:`thalweg.measure.fit.overfit_one_batch`.

    Cost: none, or one forward pass over the data where ``loss`` is not given and ``constant`` is
    known. What was not measured (NaN) is not judged.
    """
    if loss is None and not math.isnan(constant.value):
        losses, weights = objective.chunk_losses(objective.point())
        loss = Estimate(float((losses * weights).sum()))
    found = [
        *_units(report),
        *_vanishing(report),
        *_constant_output(objective, report, loss or UNKNOWN, constant),
        *_no_better(loss or UNKNOWN, constant),
        *_no_signal(signal),
        *_one_batch(one_batch or {}, loss or UNKNOWN, constant),
    ]
    return tuple(found)


def _units(report: LayerReport) -> Iterator[Mechanism]:
    enough = report.examples >= FEWEST
    dead = [a for a in report.hidden if enough and a.dead.value >= MOST_UNITS]
    if dead:
        worst = max(dead, key=lambda a: a.dead.value)
        yield Mechanism(
            "dead units",
            f"{worst.dead.value:.0%} of the {worst.units} units of {_called(worst)} are zero, and "
            f"have no slope, for every example{_others(dead)}: nothing passes through them in "
            "either direction.",
            f"{_owner(worst)}.reset_parameters()  # of the layer before it; then a lower rate, or "
            "torch.nn.LeakyReLU",
        )
    stuck = [a for a in report.activations if enough and a.counts and a.stuck.value >= MOST_UNITS]
    if stuck:
        worst = max(stuck, key=lambda a: a.stuck.value)
        yield Mechanism(
            "saturated units",
            f"{worst.stuck.value:.0%} of the {worst.units} units of {_called(worst)} stand at an "
            f"end of their range for nearly every example{_others(stuck)}: their slope is almost "
            "nothing.",
            f"{_owner(worst)}.reset_parameters()  # of the layer before it; smaller weights, "
            "scaled inputs or torch.nn.LayerNorm keep it off the ends",
        )


def _vanishing(report: LayerReport) -> Iterator[Mechanism]:
    decay = report.gradient_decay
    if not decay.value + 2 * decay.error < VANISHED:
        return
    matrices = [s for s in report.slopes if len(s.shape) > 1 and not math.isnan(s.ratio.value)]
    yield Mechanism(
        "vanishing gradient",
        f"Gradient over weight is {matrices[0].ratio.value:.2g} in `{matrices[0].name}` and "
        f"{matrices[-1].ratio.value:.2g} in `{matrices[-1].name}`: at a rate that suits the last "
        "layers the first ones do not move.",
        "torch.nn.init.kaiming_normal_(layer.weight)  # for every layer; ReLU, normalisation or "
        "skip connections in place of stacked sigmoids",
    )


def _constant_output(
    objective: Supervised, report: LayerReport, loss: Estimate, constant: Estimate
) -> Iterator[Mechanism]:
    spread, deviation = report.output_spread.value, report.output_deviation.value
    scale = _target_deviation(objective)
    same = (
        spread < CONSTANT or deviation < CONSTANT
        if scale is None
        else deviation < CONSTANT_NUMBERS * scale
    )
    if not same:
        return
    said = (
        f"The outputs are the same for every example, with a standard deviation of {deviation:.1g}"
    )
    if abs(loss.value - constant.value) <= 2 * MARGIN * abs(constant.value):
        said += f", and the loss stands at that of the best constant, {_number(constant.value)}"
    yield Mechanism(
        "constant output",
        said + ".",
        "for module in model.modules(): getattr(module, 'reset_parameters', lambda: None)()"
        "  # if layers are dead or saturated; else look at the inputs",
    )


def _no_better(loss: Estimate, constant: Estimate) -> Iterator[Mechanism]:
    errors = [0.0 if math.isnan(e) else e for e in (loss.error, constant.error)]
    margin = 2 * math.hypot(*errors) + MARGIN * abs(constant.value)
    if not loss.value > constant.value - margin:
        return
    yield Mechanism(
        "no better than a constant",
        f"The loss is {stated(loss.value, 4)}; an output that ignores the inputs reaches "
        f"{_number(constant.value)}.",
        "thalweg.measure.overfit_one_batch(task)"
        "  # a model that cannot learn 16 examples has a fault; one that can needs better steps",
    )


def _no_signal(signal: Estimate) -> Iterator[Mechanism]:
    if not signal.value + 2 * signal.error < NO_SIGNAL:
        return
    yield Mechanism(
        "labels without signal",
        "Neither a linear nor a nearest-neighbour predictor does better on held-out examples than "
        f"a constant ({signal.value:+.1%} ± {signal.error:.1%} of the variance): the labels may be "
        "shuffled against the inputs, or depend on them in a way that only a deeper model finds.",
        "print(x[:5], y[:5])  # do inputs and targets belong together, example by example?",
    )


def _one_batch(
    falls: Mapping[str, Estimate], loss: Estimate, constant: Estimate
) -> Iterator[Mechanism]:
    here = falls.get("one_batch_fall", UNKNOWN)
    fresh = falls.get("one_batch_fresh_fall", UNKNOWN)
    # Where little is left of the loss, the rest of it may be noise that 16 examples cannot hide.
    if not here.value + 2 * here.error < LEARNT or loss.value < LEARNT * constant.value:
        return
    said = f"Adam alone on one small batch takes away {here.value:.0%} of its loss"
    if fresh.value >= LEARNT:
        said += f", but {fresh.value:.0%} after the layers are initialised anew"
    elif not math.isnan(fresh.value):
        said += f", and {fresh.value:.0%} after the layers are initialised anew"
    yield Mechanism(
        "one batch cannot be learnt",
        said + ".",
        "for module in model.modules(): getattr(module, 'reset_parameters', lambda: None)()"
        if fresh.value >= LEARNT
        else "print(model(x[:16]), y[:16])  # can these outputs become those targets?",
    )


def _number(value: float) -> str:
    """A loss, as the logarithm of a number of classes where it is one."""
    classes = round(math.exp(value)) if 0 < value < 12 else 0
    if classes > 1 and abs(value - math.log(classes)) < 1e-3 * value:
        return f"ln {classes} = {math.log(classes):.3f}"
    return stated(value, 4)


def _target_deviation(objective: Supervised) -> float | None:
    """Standard deviation of the targets of a regression; None for classes and anything else."""
    batch = objective.data.fetch(slice(0, min(256, len(objective.data))))
    target = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
    if not isinstance(target, Tensor) or not target.is_floating_point() or len(target) < 2:
        return None
    return float(target.double().flatten(1 if target.ndim > 1 else 0).std(0).square().mean().sqrt())


def _called(activation: Activation) -> str:
    return f"`{activation.name}` ({activation.kind})"


def _others(found: list[Activation]) -> str:
    return f", and most of those of {len(found) - 1} further layers" if len(found) > 1 else ""


def _owner(activation: Activation) -> str:
    """How the code names what comes before: an index of a Sequential, or the module itself."""
    place = activation.name.split(" ")[0]
    return f"model[{int(place) - 1}]" if place.isdigit() and int(place) > 0 else "layer"
