"""Good minima far apart predict the same classes; a poor one does not."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from thalweg.clinic.data import digits
from thalweg.measure.alignment import align
from thalweg.measure.comparison import compare
from thalweg.measure.connectivity import Between, bezier_path, interpolation
from thalweg.objective.supervised import Supervised
from thalweg.run.descend import descend
from thalweg.run.plan import Plan
from thalweg.show.connectivity_figure import COLOURS
from thalweg.show.figure import PALETTE, styled
from thalweg.show.gallery.drawing import dots, line
from thalweg.show.gallery.exhibit import Claim, Drawn, Exhibit
from thalweg.show.panels import Panel

__all__ = ["EXHIBIT"]

EXAMPLES, BATCH, UNITS = 400, 20, 16
RATE = 0.3
STEPS = 500
GOOD_ONES = 4
POOR_ONES = 2
DEAD = 12
"""Units of a poor start that answer nothing, whatever the image: descent cannot move them."""

GOOD, MIXED = PALETTE[2], PALETTE[4]


@dataclass(frozen=True)
class _Pair:
    """Two minima; ``good`` says whether both are."""

    good: bool
    distance: float
    agreement: float
    chance: float


def build(seed: int) -> Drawn:
    """Minima from several starts, some with dead units, compared two by two."""
    objective, test, ends = _minima(seed)
    pairs = [_pair(objective, test, ends, i, j) for i, j in combinations(range(len(ends)), 2)]
    ways = _ways(objective, ends[0], ends[1], seed)
    losses = objective.loss(ends).numpy()
    margins = _margins(objective.on(test), ends)
    return Drawn(
        (
            Panel(
                "same-classes-pairs",
                "Far apart, and of one mind",
                "Each mark is a pair of minima. Across: the distance between their weights. Up: the share of "
                "held-out digits for which both predict the same class. A dash below it: what would be left "
                "if they were wrong independently.",
                _marks(pairs),
            ),
            Panel(
                "same-classes-ways",
                "Between two good ones",
                "Training loss on the straight line, on the line to the same network with its units in the "
                "first's order, and on a curve of low loss.",
                _between(ways),
            ),
        ),
        (
            _two_kinds(losses),
            _agree(pairs),
            _poor_do_not(pairs),
            _connected(ways),
            _unsure(margins),
        ),
    )


def _minima(seed: int) -> tuple[Supervised, tuple[Tensor, Tensor], Tensor]:
    data = digits(torch.Generator().manual_seed(seed), EXAMPLES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = [
            nn.Sequential(nn.Linear(64, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))
            for _ in range(GOOD_ONES + POOR_ONES)
        ]
    with torch.no_grad():
        for model in models[GOOD_ONES:]:
            weight, bias = list(model.parameters())[:2]
            weight[:DEAD], bias[:DEAD] = 0.0, -0.1
    starts = torch.stack([nn.utils.parameters_to_vector(m.parameters()) for m in models]).detach()
    objective = Supervised(models[0], nn.functional.cross_entropy, data.train)
    plan = Plan(
        learning_rate=RATE,
        batch=BATCH,
        steps=STEPS,
        trials=len(models),
        starts=starts.numpy(),
        seed=seed,
    )
    return objective, data.test, torch.tensor(descend(objective, plan).end["points"])


def _pair(
    objective: Supervised, test: tuple[Tensor, Tensor], ends: Tensor, i: int, j: int
) -> _Pair:
    found = compare(objective, ends[i], ends[j], test=test)
    good = max(i, j) < GOOD_ONES
    return _Pair(good, found.distance.value, found.test_agreement.value, found.chance.value)


def _ways(objective: Supervised, one: Tensor, other: Tensor, seed: int) -> dict[str, Between]:
    same = align(objective, one, other).point
    bend = bezier_path(objective, one, other, steps=150, batch_size=100, seed=seed)
    return {
        "line": interpolation(objective, one, other, count=21),
        "aligned": interpolation(objective, one, same, count=21),
        "curve": interpolation(objective, one, other, control=bend.control, count=21),
    }


def _margins(held_out: Supervised, ends: Tensor) -> tuple[float, float]:
    """The first good one's median margin where the second agrees with it, and where not."""
    answers = [torch.cat([output for output, _ in held_out.outputs(x)]) for x in ends[:2]]
    top = answers[0].topk(2, 1).values
    same = answers[0].argmax(1) == answers[1].argmax(1)
    lead = top[:, 0] - top[:, 1]
    return float(lead[same].median()), float(lead[~same].median())


def _marks(pairs: list[_Pair]) -> go.Figure:
    figure = go.Figure()
    for good, name, colour in ((True, "both good", GOOD), (False, "one or both poor", MIXED)):
        some = [pair for pair in pairs if pair.good is good]
        far = [pair.distance for pair in some]
        figure.add_trace(dots(far, [pair.agreement for pair in some], name, colour, size=10))
        below = dots(far, [pair.chance for pair in some], name, colour, symbol="line-ew", size=9)
        rim = {"width": 2, "color": colour}
        figure.add_trace(below.update(showlegend=False, marker={"line": rim}))
    styled(figure, "distance of the weights", "same class", height=380)
    return figure.update_yaxes(tickformat=".0%").update_xaxes(rangemode="tozero")


def _between(ways: dict[str, Between]) -> go.Figure:
    figure = go.Figure()
    names = {"line": "straight", "aligned": "units aligned", "curve": "curve"}
    for key, name in names.items():
        figure.add_trace(line(ways[key].at, ways[key].losses, name, COLOURS[key]))
    styled(figure, "from the first to the second", "training loss", height=360)
    return figure.update_yaxes(rangemode="tozero")


def _two_kinds(losses: np.ndarray) -> Claim:
    good, poor = losses[:GOOD_ONES], losses[GOOD_ONES:]
    return Claim(
        f"{GOOD_ONES} starts lead to a training loss of {good.max():.3f} or less; {POOR_ONES} starts with "
        f"{DEAD} of {UNITS} units dead lead to {poor.min():.2f} and more.",
        good.max() < 0.2 * poor.min(),
    )


def _agree(pairs: list[_Pair]) -> Claim:
    good = [pair for pair in pairs if pair.good]
    least = min(pair.agreement for pair in good)
    chance = max(pair.chance for pair in good)
    far = np.mean([pair.distance for pair in good])
    above = [pair.agreement - pair.chance for pair in good]
    return Claim(
        f"Good minima {far:.1f} apart predict the same class for {100 * least:.1f}% of the held-out digits "
        f"or more. Errors that have nothing to do with each other would leave {100 * chance:.1f}% at most: "
        "they are wrong about the same digits too.",
        least > 0.88 and min(above) > 0,
    )


def _poor_do_not(pairs: list[_Pair]) -> Claim:
    good = np.array([pair.agreement for pair in pairs if pair.good])
    poor = np.array([pair.agreement for pair in pairs if not pair.good])
    return Claim(
        f"A poor minimum goes its own way: with another, good or poor, it agrees for "
        f"{100 * poor.mean():.1f}% on average ({100 * poor.max():.1f}% at most), where two good ones do "
        f"for {100 * good.mean():.1f}%.",
        poor.max() < good.min(),
    )


def _connected(ways: dict[str, Between]) -> Claim:
    barriers = {name: way.barrier for name, way in ways.items()}
    line, aligned, curve = (barriers[name].value for name in ("line", "aligned", "curve"))
    return Claim(
        f"On the straight line between two good ones stands a barrier of {line:.2f}; with the units "
        f"in the same order {aligned:.2f} is left; on a curve {curve:.3f}. They are one valley.",
        line > 0.1 and curve < 0.1 * line and aligned < line,
    )


def _unsure(margins: tuple[float, float]) -> Claim:
    agreed, apart = margins
    return Claim(
        f"Where two good ones disagree, neither was sure: the lead of the first one's best class "
        f"over its second best is {apart:.2f} there (the median), and {agreed:.2f} where they agree.",
        apart < 0.5 * agreed,
    )


EXHIBIT = Exhibit(
    "same-classes",
    "A good local minimum predicts the same classes",
    "Two trainings from different starts end at weights that have nothing in common. Part of that is "
    "mere naming: the hidden units of a layer can stand in any order, and the network is the same. What is "
    "left after the units are put into one order is less than it seemed, and around the barrier that "
    "still stands on the straight line leads a curve on which the loss stays low. What matters to a user is "
    "the answers. Good minima give the same ones, right or wrong, nearly everywhere; which of them a "
    "training finds matters little. A minimum with a high loss is another thing: what it lacks shows in "
    "its answers.",
    "Where two good minima disagree, is it better to ask a third, or to average what they say?",
    build,
)
