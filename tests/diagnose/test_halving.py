"""How far arms run before they are dropped, and what that costs."""

import pytest

from thalweg.diagnose.halving import FLOOR, FULL_FIELD, MARKS, rungs


def cost(cures: int) -> float:
    """In longest runs a seed: every arm of a stage, the combination, the last stage and the
    unchanged run."""
    standing, total = cures + (cures > 1), 0.0
    for rung in rungs(cures):
        total += standing * rung.marks / MARKS
        standing = rung.keep
    return total + standing + 1


@pytest.mark.parametrize("cures", range(1, 40))
def test_a_race_costs_four_longest_runs_at_most_unless_the_floor_asks_for_more(cures: int) -> None:
    if FULL_FIELD < cures <= 8:
        assert 3 < cost(cures) <= 4
    elif cures > 8:
        assert cost(cures) == pytest.approx(3.95 + 0.15 * (cures - 8))
    else:
        assert cost(cures) == cures + 1 + (cures > 1)


@pytest.mark.parametrize("cures", range(1, 40))
def test_stages_grow_and_every_cure_has_its_floor(cures: int) -> None:
    stages = rungs(cures)
    assert bool(stages) is (cures > FULL_FIELD)
    if stages:
        assert FLOOR / MARKS == 0.15 and stages[0].marks >= FLOOR
        marks = [rung.marks for rung in stages]
        assert marks == sorted(set(marks)) and marks[-1] < MARKS
        assert [rung.keep for rung in stages] == [2, 1]
