"""Full batch, mini-batch, one example: steps, time and chance."""

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from thalweg.clinic.data import breast_cancer
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES = 400
RATE = 0.1
TRIALS = 6
SINGLE = 2000
"""Single steps whose scatter is measured."""

STEPS = {EXAMPLES: 250, 20: 250, 1: 1200}
"""How many steps each size of a batch takes."""

SCATTERED = (1, 5, 20, 100, EXAMPLES)
"""Batches of which single steps are taken."""

NAMES = {EXAMPLES: "all 400", 20: "20 a step", 1: "one"}
COLOURS = {EXAMPLES: PALETTE[0], 20: PALETTE[2], 1: PALETTE[1]}


@dataclass(frozen=True)
class _Run:
    """Steps ``(n,)`` and the losses on all examples there ``(n, trials)``, and seconds a step."""

    batch: int
    steps: np.ndarray
    losses: np.ndarray
    seconds: float

    @property
    def passes(self) -> np.ndarray:
        """Through the data, ``(n,)``."""
        return self.steps * self.batch / EXAMPLES

    def after(self, passes: float) -> np.ndarray:
        """Losses ``(trials,)`` at the last look within so many passes."""
        return self.losses[int(np.searchsorted(self.passes, passes, side="right")) - 1]


def build(seed: int) -> Drawn:
    """Logistic regression on the breast cancer data, from weights of zero."""
    objective = _objective(seed)
    runs = {batch: _run(objective, batch, seed) for batch in STEPS}
    scatter = {batch: _scatter(objective, batch, seed) for batch in SCATTERED}
    return Drawn(
        (
            Panel(
                "batches-steps",
                "The same runs against steps and against passes",
                f"Loss on all {EXAMPLES} examples at a rate of {RATE:g}: the mean of {TRIALS} trials in the "
                "band from the lowest to the highest. A pass has seen every example once.",
                _curves(runs),
            ),
            Panel(
                "batches-time",
                "Against the clock",
                f"Seconds that {TRIALS} trials at once took on the machine that made this page. Yours may "
                "say otherwise.",
                _clock(runs),
            ),
            Panel(
                "batches-scatter",
                "How far chance moves a single step",
                f"Root mean square distance of {SINGLE} single steps from their mean, and what the size of "
                "the batch makes of that of one example.",
                _scattered(scatter),
            ),
        ),
        (_per_step(runs), _per_pass(runs), _chance(runs), _law(scatter)),
    )


def _objective(seed: int) -> Supervised:
    inputs, targets = breast_cancer(torch.Generator().manual_seed(seed), EXAMPLES).train
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(inputs.shape[1], 1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    loss = nn.functional.binary_cross_entropy_with_logits
    return Supervised(model, loss, (inputs, targets.float()[:, None]))


def _batch(size: int) -> int | None:
    return None if size == EXAMPLES else size


def _run(objective: Supervised, batch: int, seed: int) -> _Run:
    plan = Plan(
        learning_rate=RATE,
        batch=_batch(batch),
        steps=STEPS[batch],
        trials=TRIALS,
        points_every=1 if batch == EXAMPLES else max(1, STEPS[batch] // 120),
        seed=seed,
    )
    began = perf_counter()
    points = descend(objective, plan)["points"]
    seconds = (perf_counter() - began) / STEPS[batch]
    with torch.no_grad():
        losses = objective.loss(torch.tensor(points.values)).numpy()
    return _Run(batch, points.steps, losses, seconds)


def _scatter(objective: Supervised, batch: int, seed: int) -> float:
    """Root mean square distance from their mean of where single steps from zero lead."""
    trials = SINGLE if batch < EXAMPLES else 2
    plan = Plan(learning_rate=RATE, batch=_batch(batch), steps=1, trials=trials, seed=seed)
    ends = descend(objective, plan).end["points"].astype(np.float64)
    return float(np.sqrt((ends - ends.mean(0)).var(0).sum()))


def _band(run: _Run, x: np.ndarray, *, legend: bool) -> list[go.Scatter]:
    colour, name = COLOURS[run.batch], NAMES[run.batch]
    low, high, mean = run.losses.min(1), run.losses.max(1), run.losses.mean(1)
    edge = {"width": 0, "legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
    filled = line(x, high, name, colour, fill="tonexty", **edge)
    told = line(x, mean, name, colour, legendgroup=name, showlegend=legend)
    return [line(x, low, name, colour, **edge), filled.update(opacity=0.3), told]


def _log_losses(figure: go.Figure) -> go.Figure:
    return figure.update_yaxes(type="log", tickvals=[0.05, 0.1, 0.2, 0.5], tickformat="")


def _curves(runs: dict[int, _Run]) -> go.Figure:
    figure = make_subplots(rows=2, vertical_spacing=0.17)
    for run in runs.values():
        figure.add_traces(_band(run, run.steps, legend=True), rows=1, cols=1)
        figure.add_traces(_band(run, run.passes, legend=False), rows=2, cols=1)
    styled(figure, "", "loss", height=620)
    figure.update_xaxes(title_text="steps", range=[0, 250], row=1)
    figure.update_xaxes(title_text="passes through the data", range=[0, 3], row=2)
    return _log_losses(figure)


def _clock(runs: dict[int, _Run]) -> go.Figure:
    figure = go.Figure()
    for run in runs.values():
        figure.add_traces(_band(run, run.steps * run.seconds, legend=True))
    styled(figure, "seconds", "loss", height=340)
    return _log_losses(figure)


def _expected(batch: int, single: float) -> float:
    """√((n − B)/(B(n − 1))) of the scatter of one example, drawn without replacement."""
    return single * math.sqrt((EXAMPLES - batch) / (batch * (EXAMPLES - 1)))


def _scattered(scatter: dict[int, float]) -> go.Figure:
    several = [b for b in sorted(scatter) if b < EXAMPLES]
    sizes = np.geomspace(1, 380, 80)
    law = [_expected(float(size), scatter[1]) for size in sizes]  # pyright: ignore[reportArgumentType]
    figure = go.Figure(line(sizes, law, "√((n − B)/(B(n − 1)))", PALETTE[2]))
    figure.add_trace(
        go.Scatter(
            x=several,
            y=[scatter[b] for b in several],
            name="seen",
            mode="markers",
            marker={"size": 10, "color": PALETTE[0]},
        )
    )
    styled(figure, "examples in the batch, B", "scatter of a step", height=320)
    figure.update_xaxes(type="log", tickvals=[1, 3, 10, 30, 100, 400])
    return figure.update_yaxes(type="log", tickvals=[0.001, 0.01, 0.1, 1], tickformat="")


def _per_step(runs: dict[int, _Run]) -> Claim:
    spread = {b: float(runs[b].losses[np.searchsorted(runs[b].steps, 24)].std()) for b in STEPS}
    mean = {b: float(runs[b].losses[np.searchsorted(runs[b].steps, 24)].mean()) for b in STEPS}
    return Claim(
        f"Step for step the batch hardly matters at first: after 24 steps the loss is {mean[EXAMPLES]:.3f} "
        f"with all examples, {mean[20]:.3f} with 20 and {mean[1]:.3f} with one; what differs is "
        f"the spread over the trials, {spread[EXAMPLES]:.1g}, {spread[20]:.1g} and {spread[1]:.1g}.",
        max(mean.values()) < 0.5 and spread[1] > 2 * spread[20] > 2 * spread[EXAMPLES],
    )


def _per_pass(runs: dict[int, _Run]) -> Claim:
    full, some, one = (runs[b].after(1.0).mean() for b in (EXAMPLES, 20, 1))
    return Claim(
        f"Example for example it is the other way: one pass through the data brings the loss from "
        f"{runs[1].losses[0, 0]:.3f} to {full:.3f} with all examples at once, to {some:.3f} with 20 and "
        f"to {one:.3f} with one.",
        bool(full > 2 * some > 2 * one),
    )


def _chance(runs: dict[int, _Run]) -> Claim:
    ends = runs[EXAMPLES].losses[-1]
    tail = runs[1].losses[len(runs[1].losses) // 2 :]
    rises = float((np.diff(tail, axis=0) > 0).mean())
    falls = float((np.diff(runs[EXAMPLES].losses, axis=0) < 0).mean())
    return Claim(
        f"With all examples nothing is left to chance: the {TRIALS} trials agree to {_digits(ends)} and "
        f"the loss falls at {100 * falls:.0f}% of the steps. With one, in the second half of its "
        f"run, the loss rises from look to look {100 * rises:.0f}% of the time.",
        float(np.ptp(ends)) < 1e-5 and falls > 0.99 and rises > 0.25,
    )


def _digits(ends: np.ndarray) -> str:
    apart = float(np.ptp(ends))
    return f"{apart:.0e}" if apart else "the last digit"


def _law(scatter: dict[int, float]) -> Claim:
    ratio, expected = scatter[1] / scatter[20], scatter[1] / _expected(20, scatter[1])
    seen = {size: scatter[size] / _expected(size, scatter[1]) for size in (5, 20, 100)}
    return Claim(
        f"A single step with one example scatters {ratio:.2f} times as far as one with 20; that batches are "
        f"drawn without replacement from {EXAMPLES} makes it {expected:.2f}. With all of them the "
        f"scatter is {scatter[EXAMPLES]:.1g}.",
        all(abs(each - 1) < 0.08 for each in seen.values()) and scatter[EXAMPLES] < 1e-6,
    )


EXHIBIT = Exhibit(
    "batches",
    "All examples, a few, or one",
    "The gradient over all examples is exact and dear. Over a batch of B examples it costs B/n "
    "as much and is right on average, with a scatter that falls as one over √B. Far from the "
    "minimum the slopes of the examples agree, and a cheap step does nearly as much as a dear "
    "one: so per example seen, small batches are far ahead. Near the minimum the examples "
    "disagree, the noise takes over, and runs with one example a step jump about. Against the "
    "clock it depends on the machine and on the size of the data: with these few hundred "
    "examples a step with all of them takes hardly longer than a step with one. With a million "
    "it would, while twenty would still cost about as much as one; that is why one trains on "
    "mini-batches.",
    "What should happen to the learning rate when the batch becomes four times as large, if a step is to "
    "scatter as far as before? And if a pass is to lead as far as before?",
    build,
)
