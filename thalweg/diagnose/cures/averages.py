"""Cures whose answer is not the weights that are trained: averages of weights or of predictions."""

from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from thalweg.diagnose.cures.cure import Cure, Ground, strength, whole
from thalweg.diagnose.cures.places import AFTER, END, EPOCH
from thalweg.diagnose.cures.schedules import BEGIN, ENDS, begin
from thalweg.estimate import LOSS_COST
from thalweg.objective.examples import Examples
from thalweg.objective.random_state import random_state
from thalweg.run.answers import State
from thalweg.run.training import Training

__all__ = ["ema", "fast_ensemble", "snapshots", "swa"]

USE = "model.load_state_dict(averaged.module.state_dict())"
"""What makes an averaged model the user's own."""


def swa() -> Cure:
    """The mean of the weights after each epoch at the present rate (SWA)."""

    def change(training: Training, ground: Ground) -> None:
        training.schedule = None
        averaged = AveragedModel(training.model)
        training.after_epoch.append(lambda which: averaged.update_parameters(which.model))
        normalised = any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in training.model.modules()
        )
        if normalised:
            training.examples_seen += round(LOSS_COST * training.population)

        def answers() -> list[State]:
            if not int(averaged.n_averaged):
                return [training.state()]
            if normalised:
                with random_state(0):
                    chunks = Examples.of(training.task.train).chunks(256, least=2)
                    update_bn((batch for batch, _ in chunks), averaged.module)
            return [averaged.module.state_dict()]

        training.answers = answers

    return Cure(
        "swa",
        "The mean of weights that noise throws about is nearer to the middle: for a noise floor, "
        "without giving up the rate.",
        "averaged = torch.optim.swa_utils.AveragedModel(model)\n"
        + EPOCH
        + "averaged.update_parameters(model)\n"
        + END
        + "torch.optim.swa_utils.update_bn(loader, averaged)\n"
        + USE
        + ENDS,
        change,
        "One copy of the weights; a forward pass over the data at the end where the model has batch "
        "normalisation.",
        "Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, Averaging weights leads to wider optima, "
        "2018",
        "average",
        decides=("answer",),
    )


def ema(decay: float = 0.99) -> Cure:
    """The exponential moving average of the weights and buffers, taken after every step."""
    decay = strength("decay", decay, most=1.0)

    def change(training: Training, ground: Ground) -> None:
        averaged = AveragedModel(
            training.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
        )
        training.after_step.append(lambda which: averaged.update_parameters(which.model))

        def answers() -> list[State]:
            return [averaged.module.state_dict() if int(averaged.n_averaged) else training.state()]

        training.answers = answers

    return Cure(
        f"ema {decay:g}",
        "Averages the noise of the last steps away and follows where the run moves on.",
        "averaged = torch.optim.swa_utils.AveragedModel(\n"
        f"    model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn({decay:g}), "
        "use_buffers=True\n)\n" + AFTER + "averaged.update_parameters(model)\n" + END + USE,
        change,
        "One copy of the weights, and an addition to it a step.",
        "Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992",
        "average",
        decides=("answer",),
    )


PREDICT = (
    "outputs = []\n"
    "model.eval()\n"
    "for state in snapshots[-4:] or [copy.deepcopy(model.state_dict())]:\n"
    "    model.load_state_dict(state)\n"
    "    with torch.no_grad():\n"
    "        outputs.append(model(held_out[0]))\n"
    "prediction = average(outputs, loss)"
)
"""The answer of an ensemble, as pasted."""

MEMBERS = 4
"""Snapshots whose predictions are averaged: the last ones."""


def _ensemble(
    name: str, cycle: int, steps: int, call: str, make: object, summary: str, source: str
) -> Cure:
    def change(training: Training, ground: Ground) -> None:
        scheduler = make(begin(training))  # type: ignore[operator]
        begun, kept = len(training.losses), []

        def after(which: Training) -> None:
            taken = len(which.losses) - begun
            if taken <= steps:
                if taken % cycle == 0:
                    kept.append(which.state())
                    del kept[:-MEMBERS]
                scheduler.step()

        training.after_step.append(after)
        training.answers = lambda: kept or [training.state()]

    place = AFTER.replace(":", f" of the next {steps}:")
    return Cure(
        name,
        summary,
        "import copy\nfrom thalweg.run.answers import average\n"
        f"{BEGIN}scheduler = torch.optim.lr_scheduler.{call}\nsnapshots, step = [], 0\n"
        f"{place}step += 1\n"
        f"if step % {cycle} == 0:\n"
        "    snapshots.append(copy.deepcopy(model.state_dict()))\n"
        f"scheduler.step()\n{END}{PREDICT}" + ENDS,
        change,
        f"{MEMBERS} copies of the weights; {MEMBERS} forward passes for each prediction.",
        source,
        "average",
        decides=("schedule", "answer"),
    )


def snapshots(steps: int = 100) -> Cure:
    """Four times down half a cosine to 0; the predictions of the four ends are averaged."""
    steps = whole("steps", steps)
    cycle = max(1, steps // 4)
    return _ensemble(
        f"snapshots over {steps}",
        cycle,
        steps,
        f"CosineAnnealingWarmRestarts(optimizer, T_0={cycle})",
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=cycle),
        "Four minima in one training, whose mean prediction is better than each: for held-out loss.",
        "Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, Snapshot ensembles, 2017",
    )


def fast_ensemble(steps: int = 100) -> Cure:
    """Eight short triangles of the rate; the predictions at the last four low ends are averaged."""
    steps = whole("steps", steps, least=2)
    cycle = max(2, steps // 8)
    up = cycle // 2
    return _ensemble(
        f"fast_ensemble over {steps}",
        cycle,
        steps,
        "CyclicLR(\n"
        '    optimizer, [0.01 * g["lr"] for g in optimizer.param_groups],\n'
        f'    [g["lr"] for g in optimizer.param_groups], step_size_up={up},\n'
        f"    step_size_down={cycle - up}, cycle_momentum=False)",
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer,
            [0.01 * group["lr"] for group in optimizer.param_groups],
            [group["lr"] for group in optimizer.param_groups],
            step_size_up=up,
            step_size_down=cycle - up,
            cycle_momentum=False,
        ),
        "Members along one valley, from cycles too short to leave it: for held-out loss.",
        "Garipov, Izmailov, Podoprikhin, Vetrov and Wilson, Loss surfaces, mode connectivity, and "
        "fast ensembling, 2018",
    )
