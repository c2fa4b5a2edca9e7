import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.theory.domain import Domain, read_domain, read_target


def test_a_domain_is_read_from_texts_and_pairs() -> None:
    two = Domain(((-3.0, 3.0), (-3.0, 3.0)))
    assert read_domain("-3:3", 2) == read_domain("-3:3,-3:3", 2) == read_domain([(-3, 3)], 2) == two
    assert read_domain(two, 2) == two and read_domain(two.text, 2) == two


def test_distances_from_a_point() -> None:
    box = Domain(((-1.0, 3.0), (0.0, 5.0)))
    assert box.reach((0.0, 1.0)) == 5.0
    assert box.margin((0.0, 1.0)) == 1.0
    assert box.stretched((0.0, 1.0), 2.0) == Domain(((-2.0, 6.0), (-1.0, 9.0)))
    assert box.holds((0.0, 1.0)) and not box.holds((3.0, 1.0))


def test_a_grid_has_the_edges() -> None:
    grid = Domain(((-1.0, 3.0), (0.0, 5.0))).grid(400)
    assert grid.shape == (400, 2)
    assert (grid.min(axis=0) == [-1, 0]).all() and (grid.max(axis=0) == [3, 5]).all()
    many = Domain(((0.0, 1.0),) * 6).grid(500)
    assert many.shape == (500, 6) and ((many >= 0) & (many <= 1)).all()


@pytest.mark.parametrize("given", ["", "3", "a:b", "1:2:3", "inf:3", None, 5, [(1, 2, 3)]])
def test_what_is_no_domain_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="domain must"):
        read_domain(given, 1)


@pytest.mark.parametrize("given", ["", "a", "1,2", float("nan"), None, "5"])
def test_what_is_no_target_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="must"):
        read_target(given, Domain(((-1.0, 1.0),)))


def test_a_target_is_read_from_numbers() -> None:
    box = Domain(((-1.0, 1.0), (-1.0, 1.0)))
    assert read_target("0.5,-0.5", box) == read_target(np.array([0.5, -0.5]), box) == (0.5, -0.5)
