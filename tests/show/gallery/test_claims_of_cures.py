"""The claims about cures fail on data that do not bear them out, and their arithmetic is checked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from thalweg.clinic.training import mlp
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.examination import Examination
from thalweg.show.gallery import averages, early_stopping, schedules_compared
from thalweg.task import Task

LOOKS = schedules_compared.STEPS // schedules_compared.LOOK + 1
ORDERS = schedules_compared.ORDERS


def arm(end: float, *, lowered: int | None = None, length: float = 40.0) -> schedules_compared._Arm:
    """Losses that stand at 0.8 until the rate is lowered and then fall straight to ``end``."""
    scatter = 0.002 * np.arange(ORDERS)[:, None]
    falls = 0 if lowered is None else lowered // schedules_compared.LOOK
    share = np.clip((np.arange(LOOKS) - falls) / (LOOKS - 1 - falls), 0, 1)
    rates = np.full((ORDERS, schedules_compared.STEPS), schedules_compared.RATE)
    if lowered is not None:
        rates[:, lowered:] /= 10
    losses = 0.8 + share * (end - 0.8) + scatter
    return schedules_compared._Arm(rates, losses, losses[:, -1], np.full(ORDERS, length))


def arms() -> dict[str, schedules_compared._Arm]:
    """What the exhibit finds, made up."""
    found = {name: arm(0.6, lowered=240) for name in schedules_compared.CURES}
    found[schedules_compared.UNCHANGED] = arm(0.8)
    found[schedules_compared.TRIPLED] = arm(1.0, length=60.0)
    return found


def test_one_schedule_that_gains_nothing_refutes_that_all_do() -> None:
    assert schedules_compared._lower(arms()).holds
    for name in schedules_compared.LOW:
        assert not schedules_compared._lower(arms() | {name: arm(0.8)}).holds
    scattered = replace(arm(0.6), losses=arm(0.6).losses + 0.5 * np.eye(ORDERS, LOOKS, LOOKS - 1))
    assert not schedules_compared._lower(arms() | {"cosine": scattered}).holds


def test_a_run_that_still_falls_is_not_held_up() -> None:
    assert schedules_compared._held_up(arms()).holds
    assert not schedules_compared._held_up(arms() | {"unchanged": arm(0.6, lowered=0)}).holds


def test_one_cycle_harms_only_where_it_ends_higher_and_its_peak_is_to_blame() -> None:
    found, tripled = arms(), schedules_compared.TRIPLED
    assert schedules_compared._harms(found).holds
    assert schedules_compared._peak(found).holds
    assert not schedules_compared._harms(found | {tripled: arm(0.8, length=60.0)}).holds
    assert not schedules_compared._harms(found | {tripled: arm(1.0)}).holds
    assert not schedules_compared._peak(found | {schedules_compared.KEPT: arm(1.0)}).holds
    assert not schedules_compared._peak(found | {tripled: arm(0.6)}).holds


def test_on_plateau_is_the_unchanged_run_until_it_lowers_the_rate() -> None:
    found, name = arms(), schedules_compared.PLATEAU
    assert schedules_compared._plateau(found).holds
    assert not schedules_compared._plateau(found | {name: arm(0.8)}).holds
    other = replace(found[name], losses=found[name].losses + 1e-6)
    assert not schedules_compared._plateau(found | {name: other}).holds


def test_the_gentle_one_cycle_peaks_at_the_rate_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules_compared, "ORDERS", 1)
    model = nn.Linear(2, 1)
    data = (
        torch.randn(schedules_compared.EXAMPLES, 2),
        torch.zeros(schedules_compared.EXAMPLES, 1),
    )
    task = Task(
        model=model,
        loss=nn.functional.mse_loss,
        train=data,
        test=data,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        batch_size=schedules_compared.BATCH,
    )
    examination = Examination.of(task, budget=math.inf)
    peaks = {}
    for name in (schedules_compared.KEPT, schedules_compared.TRIPLED):
        cure = schedules_compared.CURES[name]
        assert isinstance(cure, Cure)
        rates = schedules_compared._arm(examination, cure).rates
        assert rates.shape == (1, schedules_compared.STEPS)
        assert rates[:, -1].max() < 1e-3 * rates.max()
        peaks[name] = rates.max() / 0.01
    assert peaks[schedules_compared.KEPT] == pytest.approx(1.0, rel=0.02)
    assert peaks[schedules_compared.TRIPLED] == pytest.approx(3.0, rel=0.02)


def test_an_average_is_scored_by_its_mean_probabilities() -> None:
    torch.manual_seed(0)
    models = [mlp((64, averages.UNITS, 10)) for _ in range(3)]
    images, classes = torch.randn(20, 64), torch.randint(10, (20,))
    states = [model.state_dict() for model in models]
    with torch.no_grad():
        probabilities = torch.stack([model(images).softmax(1) for model in models]).mean(0)
    loss, wrong = averages._score((images, classes), states)
    assert loss == pytest.approx(float(-probabilities[range(20), classes].log().mean()), rel=1e-5)
    assert wrong == pytest.approx(float((probabilities.argmax(1) != classes).double().mean()))
    merged = averages._merged(states)
    biases = torch.stack([state["0.bias"] for state in states])
    assert torch.allclose(merged["0.bias"], biases.mean(0))
    alone, _ = averages._score((images, classes), [merged])
    models[0].load_state_dict(merged)
    with torch.no_grad():
        assert alone == pytest.approx(float(cross_entropy(models[0](images), classes)), rel=1e-5)


def seen() -> averages._Seen:
    """What the exhibit finds, made up."""
    scatter = 0.01 * np.arange(averages.STARTS)[:, None]
    members = np.stack(
        [np.stack([0.7 + scatter + 0.01 * k, 0.2 + scatter], -1) for k in range(4)], 1
    )
    members = members[:, :, 0]
    scores = {name: np.hstack([0.66 + scatter, 0.16 + scatter]) for name in averages.CURES}
    scores[averages.NOW] = np.hstack([1.0 + scatter, 0.3 + scatter])
    return averages._Seen(
        scores,
        {averages.FAST: members, averages.SNAPSHOTS: members},
        np.full((averages.STARTS, 8), 0.8),
        np.full(averages.STARTS, 0.5),
        members[:, -1],
        (0.5, 0.1),
        (2.0, 0.8),
    )


def test_the_claims_of_averages_hold_on_what_they_say() -> None:
    for claim in (
        averages._in_the_middle,
        averages._all_help,
        averages._jensen,
        averages._alone,
        averages._far_apart,
    ):
        assert claim(seen()).holds, claim


def test_the_claims_of_averages_fail_on_what_they_do_not_say() -> None:
    found = seen()
    one_higher = found.mean.copy()
    one_higher[2] = 0.81
    assert not averages._in_the_middle(replace(found, mean=one_higher)).holds
    for name in averages.CURES:
        same = found.scores | {name: found.scores[averages.NOW]}
        assert not averages._all_help(replace(found, scores=same)).holds
    above = found.scores[averages.FAST] + 0.1
    assert not averages._jensen(replace(found, scores=found.scores | {averages.FAST: above})).holds
    poor = {averages.SNAPSHOTS: found.members[averages.SNAPSHOTS] + 0.25}
    assert not averages._alone(replace(found, members=found.members | poor)).holds
    assert not averages._far_apart(replace(found, weights=(0.6, 0.2))).holds
    assert not averages._far_apart(replace(found, answers=(0.71, 0.2))).holds


def test_the_lowest_of_noisy_losses_flatters_by_the_expected_lowest() -> None:
    """Of ten independent standard normals the lowest is 1.5388 below 0 on average."""
    generator = np.random.default_rng(0)
    for size in (25, 100):  # of 400 digits, so that a test that held the set as well would show
        found = [early_stopping._worth(generator.normal(size=(10, 400)), size) for _ in range(500)]
        flatters, costs = np.mean(found, 0)
        assert flatters == pytest.approx(1.5388 / math.sqrt(size), rel=0.05)
        assert costs > 0
    alike = np.broadcast_to(np.arange(5.0)[::-1, None], (5, 100))
    assert early_stopping._worth(alike, 30) == pytest.approx((0, 0))


def run(epochs: dict[str, int], ends: dict[str, float], offset: float) -> early_stopping._Run:
    count = early_stopping.VALIDATION + 100
    test = np.concatenate([np.linspace(2, 0.8, 10), np.linspace(0.8, 1.3, 51)]) + offset
    losses = {name: np.full(count, end + offset) for name, end in ends.items()}
    return early_stopping._Run(
        np.linspace(2, 0.03, 61), np.tile(test[:, None], count), epochs, losses
    )


def runs(**changed: float) -> list[early_stopping._Run]:
    """Trainings in which each variant ends at 0.8 and running on at 1.3, but for what is changed."""
    epochs: dict[str, int] = dict(zip(early_stopping.CURES, (60, 9, 12, 20, 25), strict=True))
    ends = dict.fromkeys(early_stopping.CURES, 0.8) | {early_stopping.ON: 1.3} | changed
    return [run(epochs, ends, 0.01 * k) for k in range(early_stopping.RUNS)]


def test_the_claims_of_early_stopping_hold_on_what_they_say_and_fail_on_what_not() -> None:
    for claim in (
        early_stopping._overfits,
        early_stopping._help,
        early_stopping._patience,
        early_stopping._decays,
    ):
        assert claim(runs()).holds, claim
    assert not early_stopping._help(runs(**{"patience 3": 1.3})).holds
    assert not early_stopping._help(runs(**{"patience 3": 1.0})).holds
    assert not early_stopping._patience(runs(**{"patience 10": 0.81})).holds
    assert not early_stopping._decays(runs(**{early_stopping.DECAY: 0.6})).holds
    assert not early_stopping._decays(runs(**{early_stopping.DECAY: 0.81})).holds
    level = [replace(each, each=np.ones_like(each.each)) for each in runs()]
    assert not early_stopping._overfits(level).holds
    hasty = [replace(each, epochs=each.epochs | {"patience 10": 5}) for each in runs()]
    assert not early_stopping._patience(hasty).holds


def test_a_validation_loss_that_is_as_good_for_few_digits_does_not_flatter() -> None:
    scatter = 0.002 * np.arange(early_stopping.RUNS)
    few, many = (np.stack([low + scatter, 0.03 + scatter], 1) for low in (0.08, 0.01))
    assert early_stopping._flatters({25: few, 400: many}).holds
    assert not early_stopping._flatters({25: few, 400: few}).holds
    assert not early_stopping._flatters({25: many - 0.02, 400: many - 0.1}).holds


def test_the_library_stops_where_patience_ends_and_keeps_the_lowest() -> None:
    """The rule, written out on the curve of the run that goes on."""
    found = early_stopping._run(0)
    valid = found.each[:, : early_stopping.VALIDATION].mean(1)
    assert found.epochs[early_stopping.ON] == early_stopping.EPOCHS == len(valid) - 1
    for name, patience in early_stopping.PATIENCE.items():
        stop = next(k for k in range(len(valid)) if k - valid[: k + 1].argmin() >= patience)
        assert found.epochs[name] == stop
        assert found.ends[name] == pytest.approx(found.each[valid[: stop + 1].argmin()], abs=1e-5)
