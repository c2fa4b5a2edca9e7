"""Early stopping with patience of several lengths, and what the loss that it chooses by is worth."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor
from torch.nn.functional import cross_entropy

from thalweg.clinic.data import digits, flip_classes
from thalweg.clinic.training import mlp
from thalweg.diagnose import cures
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.track import Leg, begun
from thalweg.measure.rises import mean_and_error
from thalweg.objective.random_state import RandomState
from thalweg.run.training import Training
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import INK, dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel
from thalweg.task import Task

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH, UNITS = 192, 16, 64
WRONG = 0.4
"""Share of the training labels that are drawn anew: there is much to learn by heart."""

RATE, EPOCHS, RUNS, VALIDATION = 0.2, 60, 10, 50
SIZES = (25, 50, 100, 200, 400)
"""Sizes of validation sets that are compared; the cures choose by VALIDATION digits."""

ON, DECAY = "run on", "decay, then stop"
PATIENCE = {"patience 1": 1, "patience 3": 3, "patience 10": 10}
CURES = {
    ON: None,
    **{name: cures.early_stopping(patience) for name, patience in PATIENCE.items()},
    DECAY: cures.decay_then_stop(),
}

VALID, TEST = PALETTE[1], PALETTE[2]


@dataclass(frozen=True)
class _Run:
    """One training, on digits of its own.

    Attributes:
        train: training loss at the start and after each epoch, where it runs on.
        each: the loss of each held-out digit there, ``(epochs + 1, digits)``. The cures choose by the
            first VALIDATION digits; the others are the test.
        epochs, ends: by cure, how long it ran, and these losses at the weights that answer.
    """

    train: np.ndarray
    each: np.ndarray
    epochs: dict[str, int]
    ends: dict[str, np.ndarray]

    def valid(self, name: str) -> float:
        """Validation loss of a cure's answer."""
        return float(self.ends[name][:VALIDATION].mean())

    def test(self, name: str) -> float:
        """Test loss of a cure's answer."""
        return float(self.ends[name][VALIDATION:].mean())


def build(seed: int) -> Drawn:
    """Every variant on the same trainings, and validation sets of every size on the one that runs on."""
    runs = [_run(1000 * seed + k) for k in range(RUNS)]
    worth = {size: np.array([_worth(run.each, size) for run in runs]) for size in SIZES}
    return Drawn(
        (
            Panel(
                "early-stopping-run",
                "A training that learns wrong labels by heart",
                f"The first of {RUNS}. Dotted: where each patience stops. Dots: the weights that it keeps.",
                _over_epochs(runs[0]),
            ),
            Panel(
                "early-stopping-ends",
                "What each variant comes to",
                f"At the weights that it keeps: mean over {RUNS} trainings with two standard errors.",
                _ends(runs),
            ),
            Panel(
                "early-stopping-worth",
                "What choosing costs, against the size of the validation set",
                "At the lowest validation loss: how far it is below the test loss of the same weights, and "
                "how far this is above its own lowest. Means over many sets, with two standard errors.",
                _against_size(worth),
            ),
        ),
        (_overfits(runs), _help(runs), _patience(runs), _decays(runs), _flatters(worth)),
    )


def _run(seed: int) -> _Run:
    generator = torch.Generator().manual_seed(seed)
    (images, classes), held_out = digits(generator, EXAMPLES)
    train = (images, flip_classes(classes, WRONG, generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((64, UNITS, 10))
    task = Task(
        model=model,
        loss=cross_entropy,
        train=train,
        test=(held_out[0][:VALIDATION], held_out[1][:VALIDATION]),
        optimizer=torch.optim.SGD(model.parameters(), lr=RATE),
        batch_size=BATCH,
    )
    examination = Examination.of(task, budget=math.inf)
    fits, each, epochs, ends = [], [], {}, {}
    for name, cure in CURES.items():
        leg = Leg(task, cure, seed + 1, (), (math.nan, None), RandomState.now(), None, examination)
        training = begun(leg, examination)
        group, taken = training.optimizer.param_groups[0], 0
        while taken < EPOCHS and group["lr"] > 0:
            if cure is None:
                fits.append(_losses(training, train).mean())
                each.append(_losses(training, held_out))
            training.advance(EXAMPLES // BATCH)
            taken += 1
        for state in training.answering() or ():
            training.model.load_state_dict(state)
        epochs[name] = taken - (group["lr"] == 0)  # that it stops shows in the epoch after
        ends[name] = _losses(training, held_out)
        if cure is None:
            fits.append(_losses(training, train).mean())
    return _Run(np.array(fits), np.array([*each, ends[ON]]), epochs, ends)


def _losses(training: Training, examples: tuple[Tensor, Tensor]) -> np.ndarray:
    images, classes = examples
    with torch.no_grad():
        return cross_entropy(training.model(images), classes, reduction="none").double().numpy()


def _worth(each: np.ndarray, size: int) -> tuple[float, float]:
    """How far a validation loss flatters the step of its lowest, and what that step costs.

    Means over validation sets that share no digit; the test is all the digits that a set leaves.
    """
    whole, count = each.sum(1), each.shape[1]
    found = []
    for begin in range(0, count - size + 1, size):
        valid = each[:, begin : begin + size].sum(1)
        test = (whole - valid) / (count - size)
        chosen = int(valid.argmin())
        found.append((test[chosen] - valid[chosen] / size, test[chosen] - test.min()))
    flatters, costs = np.mean(found, 0)
    return float(flatters), float(costs)


def _over_epochs(run: _Run) -> go.Figure:
    count = np.arange(len(run.train))
    valid, test = run.each[:, :VALIDATION].mean(1), run.each[:, VALIDATION:].mean(1)
    figure = go.Figure(line(count, run.train, "training", INK))
    for losses, name, colour in ((valid, "validation", VALID), (test, "test", TEST)):
        figure.add_trace(line(count, losses, name, colour))
        kept = [int(valid[: run.epochs[cure] + 1].argmin()) for cure in PATIENCE]
        mark = dots(kept, losses[kept], f"{name} loss kept", colour, size=10)
        figure.add_trace(mark.update(showlegend=False))
    for cure in PATIENCE:
        figure.add_vline(
            x=run.epochs[cure],
            line={"dash": "dot", "width": 1.2, "color": INK},
            annotation={"text": cure, "textangle": -90, "yanchor": "top", "xanchor": "right"},
        )
    return styled(figure, "epoch", "loss", height=380).update_yaxes(rangemode="tozero")


def _ends(runs: list[_Run]) -> go.Figure:
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, name, colour, value in (
        (1, "validation", VALID, _Run.valid),
        (1, "test", TEST, _Run.test),
        (2, "epochs", INK, lambda run, cure: run.epochs[cure]),
    ):
        values = [torch.tensor([float(value(run, cure)) for run in runs]) for cure in CURES]
        found = [mean_and_error(each) for each in values]
        trace = go.Scatter(
            x=[mean for mean, _ in found],
            y=list(CURES),
            name=name,
            mode="markers",
            marker={"size": 9, "color": colour},
            error_x={"array": [2 * error for _, error in found], "color": colour, "width": 4},
            showlegend=column == 1,
        )
        figure.add_trace(trace, row=1, col=column)
    styled(figure, "loss", "", height=340)
    figure.update_xaxes(title_text="epochs", rangemode="tozero", row=1, col=2)
    return figure.update_yaxes(autorange="reversed", nticks=len(CURES), tickmode="linear")


def _against_size(worth: dict[int, np.ndarray]) -> go.Figure:
    figure = go.Figure()
    for column, name, colour in (
        (0, "validation loss too low by", VALID),
        (1, "test loss above its lowest by", TEST),
    ):
        found = [mean_and_error(torch.tensor(each[:, column])) for each in worth.values()]
        shown = line(list(worth), [mean for mean, _ in found], name, colour)
        bars = {"array": [2 * error for _, error in found], "color": colour, "width": 4}
        figure.add_trace(shown.update(mode="lines+markers", error_y=bars))
    styled(figure, "digits in the validation set", "loss", height=340)
    return figure.update_xaxes(type="log", tickvals=list(worth)).update_yaxes(rangemode="tozero")


def _lower(runs: list[_Run], name: str, other: str) -> tuple[float, float]:
    """How much lower the test loss of one is than that of another."""
    return mean_and_error(torch.tensor([run.test(other) - run.test(name) for run in runs]))


def _overfits(runs: list[_Run]) -> Claim:
    tests = np.array([run.each[:, VALIDATION:].mean(1) for run in runs])
    lowest, last = tests.min(1), tests[:, -1]
    fits = np.array([run.train[-1] for run in runs])
    return Claim(
        f"The training overfits: run on, its training loss goes down to {fits.mean():.3f}, and its test loss "
        f"from {lowest.mean():.3f} at the lowest up to {last.mean():.3f}. In all {RUNS} trainings it ends at "
        f"{(last / lowest).min():.2f} times the lowest or more.",
        bool((last > 1.1 * lowest).all() and (fits < 0.1).all()),
    )


def _help(runs: list[_Run]) -> Claim:
    gains = {name: _lower(runs, name, ON) for name in CURES if name != ON}
    (least, error), (most, _) = min(gains.values()), max(gains.values())
    return Claim(
        f"All {len(gains)} variants end at a lower test loss than the run that goes on, by {least:.3f} ± "
        f"{error:.3f} at least. Which of them it is makes {most - least:.3f} at most.",
        all(mean > 2 * error for mean, error in gains.values()) and most < 1.25 * least,
    )


def _patience(runs: list[_Run]) -> Claim:
    epochs = np.array([[run.epochs[name] for name in PATIENCE] for run in runs])
    valid = np.array([[run.valid(name) for name in PATIENCE] for run in runs])
    gain, error = _lower(runs, "patience 10", "patience 1")
    stops = ", ".join(f"{each:.0f}" for each in epochs.mean(0))
    lows = ", ".join(f"{each:.3f}" for each in valid.mean(0))
    return Claim(
        f"Patience costs epochs: 1, 3 and 10 stop after {stops} of them, at validation losses of {lows}. "
        f"These can only fall with patience, for all look at one run. The test loss need not: from the "
        f"shortest to the longest it changes by {-gain:+.3f} ± {error:.3f}.",
        bool(
            (np.diff(epochs) >= 0).all() and epochs.max() < EPOCHS and (np.diff(valid) < 1e-6).all()
        ),
    )


def _decays(runs: list[_Run]) -> Claim:
    found = np.array([run.valid("patience 3") - run.valid(DECAY) for run in runs])
    longer = np.mean([run.epochs[DECAY] - run.epochs["patience 3"] for run in runs])
    gain, error = _lower(runs, DECAY, "patience 3")
    whole, _ = _lower(runs, DECAY, ON)
    return Claim(
        f"To lower the rate to a hundredth first finds little: it begins where patience 3 stops, goes on "
        f"for {longer:.0f} epochs and comes to a lower validation loss in {int((found > 1e-6).sum())} of "
        f"{RUNS} trainings. The test loss changes by {-gain:+.3f} ± {error:.3f}. What holds it up is not the "
        "noise of the steps but what has been learnt by heart, and a low rate does not unlearn.",
        bool((found > -1e-6).all() and longer > 0) and abs(gain) < 0.1 * whole,
    )


def _flatters(worth: dict[int, np.ndarray]) -> Claim:
    few, many = min(worth), max(worth)
    most, error = mean_and_error(torch.tensor(worth[few][:, 0]))
    least, other = mean_and_error(torch.tensor(worth[many][:, 0]))
    costs, apart = mean_and_error(torch.tensor(worth[few][:, 1]))
    return Claim(
        f"The loss that was chosen by flatters: at its lowest on {few} digits it is {most:.3f} ± {error:.3f} "
        f"below the test loss of the same weights, on {many} digits {least:.3f} ± {other:.3f}. And the step "
        f"that {few} digits choose has a test loss {costs:.3f} ± {apart:.3f} above the lowest.",
        most > 2 * error and most - least > 2 * math.hypot(error, other) and costs > 2 * apart,
    )


EXHIBIT = Exhibit(
    "early-stopping",
    "Early stopping, and what its validation loss is worth",
    "A wide network learns a few digits, of which two in five have a label drawn at random. First it "
    "learns what digits have in common, and the loss on others falls. Then it learns the wrong labels "
    "by heart, and that loss rises. Early stopping keeps the weights of the lowest loss on a validation "
    "set; patience says for how many epochs it waits for a lower one. The lowest of many noisy numbers is "
    "partly luck. So the validation loss of the chosen step is too good to be true, the more so the smaller "
    "the set. What the training is worth is told by test data that had no part in the choice.",
    "You train twenty networks, stop each by the same validation set, and publish the best by its validation "
    "loss. How many choices has that set made?",
    build,
)
