"""Escape: a well whose edge and whose neighbour are known, a bowl, a network with two minima."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg as tw
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.escape import escape
from thalweg.diagnose.escape_result import Escape
from thalweg.diagnose.finding import Finding
from thalweg.errors import UsageError

DEPTH = 0.3


class Weight(nn.Module):
    """One number, whose fresh start is always the same."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at
        self.w = nn.Parameter(torch.tensor([[at]], dtype=torch.float64))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.w, self.at)


def double_well(at: float) -> tw.Task:
    """(w² - 1)² + 0.3 w as a loss of the user's own."""

    def loss(model: Any, batch: Any) -> Tensor:
        w = model.w
        return ((w * w - 1) ** 2 + DEPTH * w).sum() + 0 * batch[0].sum()

    return _task(Weight(at), loss)


def bowl() -> tw.Task:
    def loss(model: Any, batch: Any) -> Tensor:
        return (model.w - 2).square().sum() + 0 * batch[0].sum()

    return _task(Weight(1.5), loss)


def _task(model: nn.Module, loss: Any) -> tw.Task:
    rows = torch.zeros(8, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return tw.Task(model=model, train=(rows, rows), optimizer=optimizer, batch_loss=loss)


def critical(start: float) -> float:
    """The critical point that Newton's method finds from there."""
    for _ in range(50):
        start -= (4 * start**3 - 4 * start + DEPTH) / (12 * start**2 - 4)
    return start


def height(w: float) -> float:
    return (w * w - 1) ** 2 + DEPTH * w


HIGH, TOP, LOW = critical(1.0), critical(0.05), critical(-1.0)
"""The higher well, the hill between, the lower well."""


@pytest.fixture(scope="module")
def found() -> Escape:
    return escape(double_well(0.9), trials=8)


def test_the_way_out_of_the_higher_well(found: Escape) -> None:
    assert found.loss.value == pytest.approx(height(HIGH), abs=1e-9)
    assert found.cause is Cause.LOCAL_MINIMUM
    assert found.fall == pytest.approx(height(HIGH) - height(LOW), abs=1e-6)
    edge = HIGH - TOP
    for each in found.noise.rounds:
        if each.radius < edge:
            assert each.share("back").value == 1 and each.share("lower").successes == 0
        elif each.radius < 2:  # only steps to the left leave
            assert 0 < each.share("lower").value < 1
    first = found.noise.first
    assert first is not None and edge < first.radius < 1.2 * edge
    low, high = first.share("lower").interval
    assert low < 0.5 < high


def test_the_diameter_of_the_well(found: Escape) -> None:
    assert abs(found.diameter.value - 2 * (HIGH - TOP)) < found.diameter.error
    assert found.diameter.error < 0.15 * found.diameter.value


def test_the_other_minimum_lies_where_it_lies_behind_its_barrier(found: Escape) -> None:
    lower = next(end for end in found.ends if end.kind == "lower")
    assert lower.distance == pytest.approx(HIGH - LOW, abs=1e-4)
    share = (HIGH - TOP) / (HIGH - LOW)
    line = (1 - share) * height(HIGH) + share * height(LOW)
    assert lower.barrier == pytest.approx(height(TOP) - line, rel=0.05)
    assert math.isnan(lower.agreement)  # nothing is classified


def test_fresh_weights_that_are_the_same_lead_to_the_same_minimum(found: Escape) -> None:
    assert {end.kind for end in found.restarts} == {"back"}


def test_small_warm_restarts_stay_and_their_peak_is_the_users_rate(found: Escape) -> None:
    assert [each.radius for each in found.warm.rounds] == pytest.approx([0.01, 0.1, 1.0])
    assert found.warm.rounds[0].share("back").value == 1


def test_from_the_lower_well_the_other_is_no_way_out() -> None:
    found = escape(double_well(-0.9), trials=8, warm=False, restarts=0)
    assert found.cause is Cause.MINIMUM and found.noise.first is None
    assert any(end.kind == "other" and end.fall < 0 for end in found.ends)
    assert abs(found.diameter.value - 2 * (TOP - LOW)) < found.diameter.error


def test_a_bowl_has_no_way_out_and_no_edge() -> None:
    found = escape(bowl(), trials=4)
    assert found.cause is Cause.MINIMUM
    assert {end.kind for end in found.ends} == {"back"}
    assert math.isinf(found.diameter.error)
    assert "None" not in found.sentence and found.sentence.startswith("No way out")
    assert found.settled.value == pytest.approx(0.25)
    assert any("not come to rest" in note for note in found.notes)


def test_it_turns_a_minimum_into_a_local_one_and_leaves_other_verdicts(found: Escape) -> None:
    minimum = Finding(Cause.MINIMUM, "A minimum.", 0.8)
    revised = found.revised(minimum)
    assert revised.cause is Cause.LOCAL_MINIMUM and revised.sentence == found.sentence
    saddle = Finding(Cause.SADDLE, "A saddle.", 0.8)
    assert found.revised(saddle) is saddle
    none = escape(bowl(), trials=1, warm=False, restarts=0)
    assert none.revised(minimum) is minimum


def test_predictions_of_two_minima_are_compared_and_nothing_of_the_users_changes() -> None:
    task = tw.clinic.case("xor_poor_minimum")
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    state = torch.get_rng_state()
    found = escape(task, trials=2, restarts=2, radii=[4.0], warm=False)
    assert found.cause is Cause.LOCAL_MINIMUM
    lower = [end for end in found.restarts if end.kind == "lower"]
    assert lower and all(0.5 < end.agreement < 0.9 for end in lower)  # one corner of four
    assert all(end.barrier > 0.1 for end in lower)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_same_seed_gives_the_same_escape_and_the_text_says_it(found: Escape) -> None:
    again = escape(double_well(0.9), trials=8)
    assert again.to_dict() == found.to_dict()
    assert found.sentence in str(found).replace("\n", " ")
    assert "warm restarts" in str(found)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("trials", 0, "trials must be a whole number of at least 1, not 0"),
        ("evaluations", 2, "evaluations must be a whole number of at least 5, not 2"),
        ("restarts", -1, "restarts must be a whole number of at least 0, not -1"),
        ("radii", [0.0], r"radii must be numbers above 0, one at least, not \[0.0\]"),
        ("radii", [], r"radii must be numbers above 0, one at least, not \[\]"),
    ],
)
def test_an_argument_out_of_its_range_is_told(option: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        escape(bowl(), **{option: value})


def test_what_is_lower_by_a_rounding_is_no_way_out_of_a_loss_of_nought() -> None:
    """Two classes apart: the loss goes to 0 without end, and every descent ends a little elsewhere."""
    x = torch.linspace(-1, 1, 16).sign()[:, None]
    model = torch.nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-0.1], [0.1]]))
        model.bias.zero_()
    found = tw.escape(
        tw.Task(
            model=model,
            loss=torch.nn.functional.cross_entropy,
            train=(x, (x[:, 0] > 0).long()),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        ),
        radii=[0.1, 1.0, 3.0],
        trials=2,
        restarts=1,
        warm=False,
        evaluations=10,
    )
    assert found.loss.value < 1e-3 and found.settled.value > 0.5
    assert found.cause is Cause.MINIMUM and found.noise.first is None
