"""The schedules of the library's cures, each begun at one state that noise holds up."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn
from torch.nn.functional import cross_entropy

from thalweg.clinic.data import digits, flip_classes
from thalweg.clinic.training import mlp, trained
from thalweg.diagnose import cures
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.track import Leg, begun, gone_on
from thalweg.measure.rises import mean_and_error
from thalweg.objective.random_state import RandomState
from thalweg.run.training import Training
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.task import Task

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH, UNITS = 960, 16, 10
WRONG = 0.2
"""Share of the labels that are drawn anew: without them the noise would vanish as the digits are learnt."""

RATE, BEFORE, STEPS = 2.0, 3000, 720
LOOK, ORDERS = 30, 5

UNCHANGED, PLATEAU = "unchanged", "on plateau"
TRIPLED, KEPT = "one-cycle", "one-cycle, gentle"


def _gently(training: Training, ground: cures.Ground) -> None:
    for cure in (cures.learning_rate(1 / 3), cures.one_cycle(STEPS)):
        assert cure.change is not None
        cure.change(training, ground)


CURES: dict[str, cures.Cure | None] = {
    UNCHANGED: None,
    "step decay": cures.step_decay(STEPS),
    "exponential": cures.decay_rate(STEPS),
    "cosine": cures.cosine(STEPS),
    "cyclic": cures.cyclic(STEPS),
    "warm restarts": cures.warm_restarts(STEPS),
    PLATEAU: cures.decay_on_plateau(1),
    TRIPLED: cures.one_cycle(STEPS),
    KEPT: cures.Cure("one_cycle from a third", "", "", _gently),
}
"""Those of the catalogue, and a one-cycle with its peak at the rate that the run has."""

LOW = tuple(CURES)[1:7]
"""Those that bring the rate down and never above where it was."""

COLOURS = {UNCHANGED: INK, TRIPLED: PALETTE[4], KEPT: PALETTE[1], PLATEAU: PALETTE[3]}
OTHERS = PALETTE[2]


@dataclass(frozen=True)
class _Arm:
    """A schedule over orders of the data: rates ``(orders, steps)``, losses ``(orders, looks)``.

    Of the end, also the held-out losses and the lengths of the weights, ``(orders,)``.
    """

    rates: np.ndarray
    losses: np.ndarray
    held_out: np.ndarray
    lengths: np.ndarray

    @property
    def end(self) -> tuple[float, float]:
        """The mean of the last losses and its error."""
        return mean_and_error(torch.tensor(self.losses[:, -1]))


def build(seed: int) -> Drawn:
    """One run brought to its noise floor, and every schedule from there on the same orders."""
    task = _stuck(seed)
    examination = Examination.of(task, budget=math.inf)
    arms = {name: _arm(examination, cure) for name, cure in CURES.items()}
    return Drawn(
        (
            Panel(
                "cures-compared-rates",
                "The rate from the stuck state on",
                f"In units of the rate {RATE:g} that the run has. The library's cures as they are, in the "
                f"first of {ORDERS} orders of the data; only on plateau differs between orders. The last is "
                "a one-cycle that peaks at the rate of the run in place of three times that.",
                _rates(arms),
            ),
            Panel(
                "cures-compared-losses",
                "The loss from the stuck state on",
                f"Training loss over all examples: the mean of {ORDERS} orders. Grey: the unchanged run.",
                _losses(arms),
            ),
            Panel(
                "cures-compared-ends",
                "Where each ends",
                f"Training loss after {STEPS} steps, mean of {ORDERS} orders with two standard errors. The "
                "dotted line: the unchanged run.",
                _ends(arms),
            ),
        ),
        (_held_up(arms), _lower(arms), _plateau(arms), _harms(arms), _peak(arms)),
    )


def _stuck(seed: int) -> Task:
    generator = torch.Generator().manual_seed(seed)
    data = digits(generator, EXAMPLES)
    images, classes = data.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((64, UNITS, 10), nn.Tanh)
    return trained(
        model,
        cross_entropy,
        data._replace(train=(images, flip_classes(classes, WRONG, generator))),
        torch.optim.SGD(model.parameters(), lr=RATE),
        steps=BEFORE,
        batch_size=BATCH,
        generator=generator,
    )


def _arm(examination: Examination, cure: cures.Cure | None) -> _Arm:
    """As the race goes on with a cure, on orders that all the arms share."""
    marks = tuple(k * BATCH / EXAMPLES for k in range(0, STEPS + 1, LOOK))
    start = examination.objective.value(examination.point)
    found = []
    for order in range(1, ORDERS + 1):
        leg = Leg(examination.task, cure, order, marks, (start, math.nan), RandomState.now())
        training = begun(leg, examination)
        used: list[float] = []
        training.before_update.append(_noting(used))
        ran = gone_on(leg, training, examination)
        length = float(training.point().norm())
        found.append((used, ran.losses, ran.test_losses[-1], length))
    return _Arm(*map(np.array, zip(*found, strict=True)))


def _noting(used: list[float]) -> Callable[[Training], None]:
    return lambda training: used.append(training.optimizer.param_groups[0]["lr"])


def _panes(arms: dict[str, _Arm], height: int) -> go.Figure:
    """A small figure for each schedule, in three columns."""
    figure = make_subplots(
        rows=3,
        cols=3,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=list(arms),
        vertical_spacing=0.1,
    )
    styled(figure, "", "", height=height)
    figure.update_annotations(font={"size": 12, "color": "#6b7078"})
    figure.update_xaxes(tickvals=[0, STEPS // 2, STEPS], range=[0, 1.02 * STEPS])
    figure.update_xaxes(title_text="step", row=3, col=2)
    return figure.update_layout(margin={"t": 30}, showlegend=False)


def _rates(arms: dict[str, _Arm]) -> go.Figure:
    figure = _panes(arms, 420)
    for place, (name, arm) in enumerate(arms.items()):
        shown = line(np.arange(STEPS), arm.rates[0] / RATE, name, COLOURS.get(name, OTHERS))
        figure.add_trace(shown.update(fill="tozeroy"), row=place // 3 + 1, col=place % 3 + 1)
    return figure.update_yaxes(tickvals=[0, 1, 2, 3], range=[0, 3.2])


def _losses(arms: dict[str, _Arm]) -> go.Figure:
    figure = _panes(arms, 520)
    steps = np.arange(0, STEPS + 1, LOOK)
    for place, each in enumerate(arms):
        for name, colour in ((UNCHANGED, INK), (each, COLOURS.get(each, OTHERS))):
            mean = line(steps, arms[name].losses.mean(0), name, colour)
            figure.add_trace(mean, row=place // 3 + 1, col=place % 3 + 1)
    seen = np.log10([arm.losses.mean(0) for arm in arms.values()])
    span = [seen.min() - 0.03, seen.max() + 0.03]
    figure.update_yaxes(type="log", range=span, tickvals=[0.6, 0.8, 1, 1.5, 2, 3])
    return figure.update_yaxes(title_text="loss", row=2, col=1)


def _ends(arms: dict[str, _Arm]) -> go.Figure:
    order = sorted(arms, key=lambda name: -arms[name].end[0])
    bars = {"type": "data", "array": [2 * arms[name].end[1] for name in order]}
    figure = go.Figure(
        go.Scatter(
            x=[arms[name].end[0] for name in order],
            y=order,
            mode="markers",
            marker={"size": 9, "color": [COLOURS.get(name, OTHERS) for name in order]},
            error_x={**bars, "color": INK, "width": 4},
        )
    )
    figure.add_vline(x=arms[UNCHANGED].end[0], line={"dash": "dot", "width": 1.2, "color": INK})
    styled(figure, "training loss at the end", "", height=380)
    return figure.update_yaxes(nticks=len(order), tickmode="linear")


def _gain(arms: dict[str, _Arm], name: str, over: str = UNCHANGED) -> tuple[float, float]:
    """How much lower it ends than another on the same order."""
    return mean_and_error(torch.tensor(arms[over].losses[:, -1] - arms[name].losses[:, -1]))


def _ended(arm: _Arm) -> str:
    return f"{arm.end[0]:.3f} ± {arm.end[1]:.3f}"


def _held_up(arms: dict[str, _Arm]) -> Claim:
    halves = np.array_split(arms[UNCHANGED].losses[:, 1:], 2, axis=1)
    fall, error = mean_and_error(torch.tensor(halves[0].mean(1) - halves[1].mean(1)))
    gain, _ = _gain(arms, "cosine")
    return Claim(
        f"Noise holds the run up: unchanged, its loss falls by {fall:.3f} ± {error:.3f} from the first half "
        f"of {STEPS} steps to the second. On the same batches a cosine ends {gain:.3f} lower.",
        fall < 0.5 * gain,
    )


def _lower(arms: dict[str, _Arm]) -> Claim:
    gains = {name: _gain(arms, name) for name in LOW}
    least, most = (f(gains, key=lambda name: gains[name][0]) for f in (min, max))
    apart = gains[most][0] - gains[least][0]
    return Claim(
        f"All {len(LOW)} schedules that only bring the rate down end lower than the unchanged run's "
        f"{_ended(arms[UNCHANGED])}: by {gains[least][0]:.3f} ± {gains[least][1]:.3f} at least ({least}). "
        f"Which one it is matters less: the best, {most}, gains {apart:.3f} more.",
        all(g > 2 * error for g, error in gains.values()) and apart < 0.5 * gains[least][0],
    )


def _plateau(arms: dict[str, _Arm]) -> Claim:
    rates, losses = arms[PLATEAU].rates, arms[PLATEAU].losses
    lowered = rates < rates[:, :1]
    firsts = np.where(lowered.any(1), lowered.argmax(1), STEPS)
    same = [
        bool((ours[: first // LOOK + 1] == theirs[: first // LOOK + 1]).all())
        for ours, theirs, first in zip(losses, arms[UNCHANGED].losses, firsts, strict=True)
    ]
    return Claim(
        f"On plateau is told no length and has to see first that the loss stands: it lowers the rate after "
        f"{firsts.min()} to {firsts.max()} steps, in {lowered.any(1).sum()} of {ORDERS} orders, and until "
        "then is the unchanged run to the last digit.",
        bool(lowered.any(1).all() and firsts.min() > 0) and all(same),
    )


def _harms(arms: dict[str, _Arm]) -> Claim:
    mean, error = _gain(arms, TRIPLED)
    more, apart = mean_and_error(torch.tensor(arms[TRIPLED].held_out - arms[UNCHANGED].held_out))
    told = "no different" if abs(more) <= 2 * apart else "lower" if more < 0 else "higher"
    before, after = (arms[name].lengths.mean() for name in (UNCHANGED, TRIPLED))
    return Claim(
        f"A one-cycle harms this run: its rate ends at nothing, and yet its loss ends at "
        f"{_ended(arms[TRIPLED])}, {-mean:.3f} ± {error:.3f} above the unchanged run. At three times a rate "
        f"that was too high the weights have grown from {before:.0f} to {after:.0f} long, and a low rate "
        f"does not shorten them. The held-out loss is {told}: {arms[TRIPLED].held_out.mean():.3f} against "
        f"{arms[UNCHANGED].held_out.mean():.3f}.",
        mean < -2 * error and bool(after > 1.2 * before),
    )


def _peak(arms: dict[str, _Arm]) -> Claim:
    mean, error = _gain(arms, KEPT)
    more, apart = _gain(arms, KEPT, over=TRIPLED)
    return Claim(
        f"The peak does it, not the cycle: one that peaks at the rate of the run ends at "
        f"{_ended(arms[KEPT])}, lower than the unchanged run by {mean:.3f} ± {error:.3f} and than the "
        f"one-cycle by {more:.3f} ± {apart:.3f}.",
        mean > 2 * error and more > 2 * apart,
    )


EXHIBIT = Exhibit(
    "cures-compared",
    "Schedules compared on one stuck run",
    "A small network learns digits, of which a fifth have a label drawn at random. Its learning rate is "
    "too high: the noise of the mini-batches throws it about, and the loss stands at a height that more "
    "steps do not lower. From this very state every schedule goes on, on the same batches in the same "
    "order. What helps is what most of them have in common: the rate comes down, and the noise with it. "
    "How it comes down matters less. A one-cycle goes up first, to three times the rate. That is meant "
    "for a run whose rate is too low. Here it throws the weights so far out that the low rate at "
    "its end does not bring them back. Find out what holds a run up before you choose its schedule.",
    "A cosine and a one-cycle both end at a rate of nothing. Why can the low rate at the end undo the "
    "noise of the steps before it, and not what the one-cycle has done?",
    build,
)
