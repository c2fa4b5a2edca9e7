"""Averages of weights and of predictions, and each of what was averaged alone."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from thalweg.clinic.data import Split, digits, flip_classes
from thalweg.clinic.training import mlp, trained
from thalweg.diagnose import cures
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.track import Leg, begun
from thalweg.measure.rises import mean_and_error
from thalweg.objective.random_state import RandomState
from thalweg.run.answers import State, average
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH, UNITS = 800, 8, 14
WRONG = 0.2
"""Share of the labels that are drawn anew, so that the noise of the batches does not vanish."""

RATE, BEFORE, STEPS, STARTS = 0.5, 2500, 800, 6

NOW, SWA, SNAPSHOTS, FAST = "unchanged", "SWA", "snapshots", "fast ensemble"
CURES = {
    "EMA": cures.ema(),
    SWA: cures.swa(),
    FAST: cures.fast_ensemble(STEPS),
    SNAPSHOTS: cures.snapshots(STEPS),
}

WEIGHTS, ANSWERS = PALETTE[1], PALETTE[2]

Start = tuple[list[State], dict[str, list[State]]]
"""States after the epochs of the unchanged run, and by the names of cures those that answer."""


@dataclass(frozen=True)
class _Seen:
    """What is averaged and what comes of it. A score is a held-out loss and the share that is wrong.

    Attributes:
        scores: of what answers, ``(starts, 2)``; of the unchanged run, their mean over the epochs.
        members: of each of an ensemble alone, ``(starts, members, 2)``.
        epochs, mean: training losses after each epoch, ``(starts, epochs)``, and of the mean weights.
        across, answers, weights: scores of the last snapshots of all starts, of their mean
            prediction, and of their mean weights.
    """

    scores: dict[str, np.ndarray]
    members: dict[str, np.ndarray]
    epochs: np.ndarray
    mean: np.ndarray
    across: np.ndarray
    answers: tuple[float, float]
    weights: tuple[float, float]


def build(seed: int) -> Drawn:
    """Every average from several starts, on the same digits."""
    generator = torch.Generator().manual_seed(seed)
    images, classes = (data := digits(generator, EXAMPLES)).train
    data = data._replace(train=(images, flip_classes(classes, WRONG, generator)))
    seen = _seen(data, starts := [_start(data, 1000 * seed + k) for k in range(STARTS)])
    return Drawn(
        (
            Panel(
                "averages-weights",
                "Weights after each epoch, and their mean",
                "For the first start, at the constant rate. A dot is where the run stands after an epoch. "
                "The lines are of all up to it: their mean weights, and their mean prediction.",
                _so_far(data, starts[0][0]),
            ),
            Panel(
                "averages-members",
                "Members and their mean prediction",
                "Held-out loss from each start. The mean prediction cannot lie above the mean of the losses.",
                _members(seen),
            ),
            Panel(
                "averages-ends",
                "What each comes to",
                f"On held-out digits, mean over {STARTS} starts with two standard errors; unchanged, over "
                "the epochs too. The lowest two are of the last snapshots of all starts together.",
                _ends(seen),
            ),
        ),
        (_in_the_middle(seen), _all_help(seen), _jensen(seen), _alone(seen), _far_apart(seen)),
    )


def _start(data: Split, seed: int) -> Start:
    """One training to its noise floor, and every cure from there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((64, UNITS, 10))
    task = trained(
        model,
        cross_entropy,
        data,
        torch.optim.SGD(model.parameters(), lr=RATE),
        steps=BEFORE,
        batch_size=BATCH,
        generator=torch.Generator().manual_seed(seed),
    )
    examination = Examination.of(task, budget=math.inf)
    epochs, answers = [], {}
    for name, cure in CURES.items():
        leg = Leg(task, cure, seed + 1, (), (math.nan, None), RandomState.now(), None, examination)
        training = begun(leg, examination)
        if name == SWA:
            training.after_epoch.append(lambda which: epochs.append(which.state()))
        training.advance(STEPS)
        answers[name] = training.answering() or []
    return epochs, answers


def _output(state: State, images: Tensor) -> Tensor:
    hidden = linear(images, state["0.weight"], state["0.bias"]).relu()
    return linear(hidden, state["2.weight"], state["2.bias"])


def _score(examples: tuple[Tensor, Tensor], states: list[State]) -> tuple[float, float]:
    """Loss of the mean prediction, and the share of the examples for which it is wrong."""
    images, classes = examples
    answer = average([_output(state, images) for state in states], cross_entropy)
    wrong = (answer.argmax(1) != classes).double().mean()
    return float(cross_entropy(answer, classes)), float(wrong)


def _merged(states: list[State]) -> State:
    """The mean of the weights."""
    return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}


def _seen(data: Split, starts: list[Start]) -> _Seen:
    def alone(states: list[State]) -> list[tuple[float, float]]:
        return [_score(data.test, [state]) for state in states]

    scores = {name: [_score(data.test, answers[name]) for _, answers in starts] for name in CURES}
    scores[NOW] = [np.mean(alone(epochs), 0) for epochs, _ in starts]
    lasts = [answers[SNAPSHOTS][-1] for _, answers in starts]
    return _Seen(
        {name: np.array(each) for name, each in scores.items()},
        {n: np.array([alone(answers[n]) for _, answers in starts]) for n in (FAST, SNAPSHOTS)},
        np.array([[_score(data.train, [e])[0] for e in epochs] for epochs, _ in starts]),
        np.array([_score(data.train, answers[SWA])[0] for _, answers in starts]),
        np.array(alone(lasts)),
        _score(data.test, lasts),
        _score(data.test, [_merged(lasts)]),
    )


def _pair(titles: list[str], traces: list[list[go.Scatter]], x: str) -> go.Figure:
    """Two figures side by side, the same kinds of traces in both."""
    figure = make_subplots(
        cols=2, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.06
    )
    for column, some in enumerate(traces, 1):
        for trace in some:
            figure.add_trace(trace.update(showlegend=column == 1), row=1, col=column)
    styled(figure, x, "", height=370).update_annotations(font={"size": 13})
    figure.update_yaxes(title_text="loss", row=1, col=1)
    return figure.update_layout(margin={"t": 64}, legend={"y": 1.11})


def _so_far(data: Split, epochs: list[State]) -> go.Figure:
    count = np.arange(1, len(epochs) + 1)
    traces = []
    for examples in (data.train, data.test):
        each = [_score(examples, [state])[0] for state in epochs]
        merged = [_score(examples, [_merged(epochs[:k])])[0] for k in count]
        together = [_score(examples, epochs[:k])[0] for k in count]
        one = dots(count, each, "weights after the epoch", INK)
        mean = line(count, merged, "mean weights (SWA)", WEIGHTS)
        traces.append([one, mean, line(count, together, "mean prediction", ANSWERS)])
    return _pair(["training loss", "held-out loss"], traces, "epoch")


def _members(seen: _Seen) -> go.Figure:
    starts = np.arange(1, STARTS + 1)
    traces = []
    for name, members in seen.members.items():
        losses, answer = members[:, :, 0], seen.scores[name][:, 0]
        one = dots(np.repeat(starts, 4), losses.ravel(), "one member", INK, size=7)
        mean = dots(starts, losses.mean(1), "mean of their losses", INK, symbol="line-ew", size=11)
        mean.update(marker={"line": {"width": 2.5, "color": INK}})
        traces.append([one, mean, dots(starts, answer, "mean prediction", ANSWERS, size=10)])
    return _pair(list(seen.members), traces, "start")


def _ends(seen: _Seen) -> go.Figure:
    rows = {NOW: seen.scores[NOW], "one snapshot": seen.members[SNAPSHOTS].mean(1)}
    rows |= {name: seen.scores[name] for name in CURES}
    rows |= {"all starts, predictions": np.array([seen.answers] * 2)}
    rows |= {"all starts, weights": np.array([seen.weights] * 2)}
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column in (0, 1):
        found = [mean_and_error(torch.tensor(row[:, column])) for row in rows.values()]
        trace = go.Scatter(
            x=[mean for mean, _ in found],
            y=list(rows),
            mode="markers",
            marker={"size": 9, "color": [INK] * 2 + [WEIGHTS] * 2 + [ANSWERS] * 3 + [WEIGHTS]},
            error_x={"array": [2 * error for _, error in found], "color": INK, "width": 4},
        )
        figure.add_trace(trace, row=1, col=column + 1)
    styled(figure, "held-out loss", "", height=380).update_layout(showlegend=False)
    figure.update_xaxes(type="log", tickvals=[0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2])
    figure.update_xaxes(title_text="share that is wrong", row=1, col=2)
    return figure.update_yaxes(autorange="reversed", nticks=len(rows), tickmode="linear")


def _gain(seen: _Seen, scores: np.ndarray, column: int = 0) -> tuple[float, float]:
    """How much lower than unchanged: the loss, or (column 1) the share that is wrong."""
    return mean_and_error(torch.tensor((seen.scores[NOW] - scores)[:, column]))


def _in_the_middle(seen: _Seen) -> Claim:
    below = int((seen.mean < seen.epochs.min(1)).sum())
    return Claim(
        f"The mean of {seen.epochs.shape[1]} weights lies lower than the lowest of them from {below} of "
        f"{STARTS} starts: at a training loss of {seen.mean.mean():.3f}, and they at "
        f"{seen.epochs.mean():.3f} on average.",
        below == STARTS,
    )


def _all_help(seen: _Seen) -> Claim:
    gains, fewer = ({n: _gain(seen, seen.scores[n], column) for n in CURES} for column in (0, 1))
    lower, right = (min(each.values()) for each in (gains, fewer))
    loss, wrong = seen.scores[NOW].mean(0)
    return Claim(
        f"All {len(CURES)} help on held-out digits: the loss is lower than the unchanged run's {loss:.3f} by "
        f"{lower[0]:.3f} ± {lower[1]:.3f} at least, and the share that is wrong lower than its "
        f"{100 * wrong:.1f}% by {100 * right[0]:.1f} ± {100 * right[1]:.1f} points at least.",
        all(mean > 2 * error for mean, error in (*gains.values(), *fewer.values())),
    )


def _jensen(seen: _Seen) -> Claim:
    losses = np.concatenate([members[:, :, 0] for members in seen.members.values()])
    together = np.concatenate([seen.scores[name][:, 0] for name in seen.members])
    gaps, best = losses.mean(1) - together, int((together < losses.min(1)).sum())
    return Claim(
        f"The loss of a mean prediction is at most the mean of its members' losses, as −log is convex "
        f"(Jensen). In all {len(gaps)} ensembles it is lower, by {gaps.min():.3f} to {gaps.max():.3f}. It is "
        f"lower than that of the best member in {best} of them, which nothing guarantees.",
        bool(gaps.min() > 0),
    )


def _alone(seen: _Seen) -> Claim:
    whole, _ = _gain(seen, seen.scores[SNAPSHOTS])
    part, error = _gain(seen, seen.members[SNAPSHOTS].mean(1))
    return Claim(
        f"Most of what snapshots gain is no merit of the average: one alone, taken where the rate has come "
        f"down to nothing, gains {part:.3f} ± {error:.3f} of the {whole:.3f}.",
        part > 2 * error and 0.5 * whole < part < whole,
    )


def _far_apart(seen: _Seen) -> Claim:
    alone, together, merged = seen.across[:, 0], seen.answers[0], seen.weights[0]
    near = (seen.members[SNAPSHOTS][:, :, 0].mean(1) - seen.scores[SNAPSHOTS][:, 0]).mean()
    gap = alone.mean() - together
    return Claim(
        f"Weights can be averaged in one valley only, predictions anywhere. Snapshots of {STARTS} starts are "
        f"at {alone.min():.3f} to {alone.max():.3f}, their mean weights at {merged:.2f}, their mean "
        f"prediction at {together:.3f}. It gains {gap:.3f} on average; among snapshots of one start, "
        f"which differ less, it gains {near:.3f}.",
        bool(merged > alone.max() and together < alone.min() and gap > near),
    )


EXHIBIT = Exhibit(
    "averages",
    "Averages of weights and of predictions",
    "The noise of the mini-batches throws the weights about on the slopes of a valley. Their mean lies in "
    "the middle, where the loss is lower: stochastic weight averaging (SWA) and the exponential moving "
    "average (EMA) get there without giving up the rate. But the mean of weights from two valleys "
    "lies on the ridge between them. Predictions can be averaged wherever they come from: where one is "
    "wrong, others may be right. A snapshot ensemble takes its members from one training whose rate "
    "goes down to nothing several times; a fast geometric ensemble takes them closer together.",
    "An ensemble of four costs four forward passes an answer. What would you measure to say whether one "
    "network of four times the size makes better use of them?",
    build,
)
