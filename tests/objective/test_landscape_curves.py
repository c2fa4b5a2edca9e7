"""Splines: through their knots, twice differentiable, every minimum found, read from files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.objective import landscapes
from thalweg.objective.landscape import Landscape


def derivatives(landscape: Landscape, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    points = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(landscape.loss(points).sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), points)
    return slope.detach(), second


values_of = st.lists(st.floats(-5, 5), min_size=4, max_size=30)
gaps_of = st.lists(st.floats(0.1, 2), min_size=30, max_size=30)


@settings(max_examples=40)
@given(values_of, gaps_of, st.none() | st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_a_spline_passes_its_knots_smoothly_and_states_its_largest_curvature(
    values: list[float], gaps: list[float], ends: tuple[float, float] | None
) -> None:
    knots = np.cumsum(gaps)[: len(values)].tolist()
    landscape = landscapes.spline(knots, values, ends)
    at = torch.tensor(knots, dtype=torch.float64)[:, None]
    scale = 1 + landscape.smoothness  # pyright: ignore[reportOptionalOperand]
    torch.testing.assert_close(
        landscape.loss(at), torch.tensor(values, dtype=torch.float64), rtol=0, atol=1e-12 * scale
    )
    before, after = (derivatives(landscape, at[1:-1] + side) for side in (-1e-9, 1e-9))
    assert (before[0] - after[0]).abs().max() < 1e-7 * scale
    assert (before[1] - after[1]).abs().max() < 1e-6 * scale
    slope, second = derivatives(landscape, at)
    if ends is None:
        assert second[[0, -1]].abs().max() < 1e-9 * scale
    else:
        assert slope[[0, -1], 0].tolist() == pytest.approx(ends, abs=1e-9 * scale)
    inside = torch.linspace(knots[0], knots[-1], 3_000, dtype=torch.float64)[1:-1, None]
    largest = max(derivatives(landscape, torch.cat([inside, at]))[1].abs().max(), 0)
    assert largest == pytest.approx(landscape.smoothness, rel=1e-6, abs=1e-9)


def test_outside_its_knots_a_spline_goes_on_straight() -> None:
    landscape = landscapes.spline((0, 1, 2), (0, 1, 0), (2.0, -3.0))
    points = torch.tensor([[-4.0], [-1.0], [3.0], [7.0]], dtype=torch.float64)
    assert landscape.loss(points).tolist() == pytest.approx([-8.0, -2.0, -3.0, -15.0])
    slope, second = derivatives(landscape, points)
    assert slope[:, 0].tolist() == pytest.approx([2.0, 2.0, -3.0, -3.0])
    assert second.abs().max() < 1e-12
    assert landscape.infimum == -float("inf")


@pytest.mark.parametrize("count", [1, 5, 36])
def test_a_zigzag_has_as_many_minima_as_it_was_given(count: int) -> None:
    generator = np.random.default_rng(count)
    knots = np.sort(generator.choice(np.arange(10 * count), 2 * count + 1, replace=False) / 7)
    heights = np.where(np.arange(2 * count + 1) % 2, -1.0, 1.0) * generator.uniform(1, 3)
    landscape = landscapes.spline(knots.tolist(), heights.tolist())
    grid = torch.linspace(float(knots[0]), float(knots[-1]), 400_001, dtype=torch.float64)
    slope = derivatives(landscape, grid[:, None])[0][:, 0]
    assert int(((slope[:-1] < 0) & (slope[1:] > 0)).sum()) == len(landscape.minima) >= count


def test_the_minima_of_a_spiky_bowl_are_recovered_from_a_hundred_knots() -> None:
    bowl = landscapes.spiky(0.6, 36.0, 3.05)
    knots = torch.linspace(-3, 3, 401, dtype=torch.float64)
    ends = torch.autograd.functional.jacobian(
        lambda ends: bowl.loss(ends[:, None]).sum(), knots[[0, -1]]
    )
    landscape = landscapes.spline(knots.tolist(), bowl.loss(knots[:, None]).tolist(), ends.tolist())
    inside = [x for (x,) in bowl.minima if abs(x) < 3]
    assert len(inside) > 30
    assert [x for (x,) in landscape.minima] == pytest.approx(inside, abs=1e-4)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", " , "])
def test_knots_are_read_from_two_columns(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "hill.txt"
    rows = [f"{x}{separator}{y}" for x, y in ((0, 1.5), (1, -2e0), (2.5, 0.25))]
    file.write_text("# made by hand\nknot" + separator + "value\n\n" + "\n".join(rows) + "\n")
    landscape = landscapes.spline_from_file(file)
    assert landscape.name == "hill" and landscape.domain == ((0.0, 2.5),)
    assert landscape.loss(torch.tensor([1.0])).item() == pytest.approx(-2.0)


def test_knots_are_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "hill.json"
    held = {"about": "x", "knots": [0, 1, 2], "values": [0, 1, 0], "end_slopes": [2.0, -3.0]}
    file.write_text(json.dumps(held))
    twin = landscapes.spline((0, 1, 2), (0, 1, 0), (2.0, -3.0))
    points = torch.linspace(-1, 3, 9, dtype=torch.float64)[:, None]
    assert torch.equal(landscapes.spline_from_file(file).loss(points), twin.loss(points))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "knots must be at least 3"),
        (b"0 1\n1 2\n", "knots must be at least 3"),
        (b"0 1\n1 2 3\n", "two numbers in line 2"),
        (b"0 1\n1 b\n", "two numbers in line 2"),
        (b"a b\nc d\n", "two numbers in line 2"),
        (b"0 1\n1 nan\n2 3\n", "values must be a finite number"),
        (b"0 1\n0 2\n2 3\n", "knots must increase"),
        (b"\xff\xfe\x00", "no text"),
        (b"{", "must hold JSON"),
        (b'{"a": ' * 100_000, "must hold JSON"),
        (b"{}", "entries knots and values"),
        (b'{"knots": 3, "values": 4}', "knots must be at least 3"),
        (b'{"knots": {"a": 1, "b": 2, "c": 3}, "values": [1, 2, 3]}', "finite number"),
        (b'{"knots": [1, 2, null], "values": [1, 2, 3]}', "finite number, not None"),
        (b'{"knots": [1, 2, 3], "values": [1, 2]}', "values must be at least 3"),
        (b'{"knots": [1, 2, 3, 4], "values": [1, 2, 3]}', "one for each of the 4"),
        (b'{"knots": [1, 2, 3], "values": [1, 2, 3], "end_slopes": 1}', "end_slopes"),
        (b'{"knots": [1, 2, 3], "values": [1, 2, 3], "end_slopes": [1, 2, 3]}', "be two numbers"),
    ],
    ids=range(18),
)
def test_other_files_are_refused_in_one_sentence(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "knots"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        landscapes.spline_from_file(file)


def test_a_folder_is_no_file_of_knots(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="readable file"):
        landscapes.spline_from_file(tmp_path)
