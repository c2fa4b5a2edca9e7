"""Trajectory: plain data that is immutable, saves, loads and merges."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from thalweg.errors import UsageError
from thalweg.trajectory import Column, Trajectory, environment, merge

any_float = st.floats(width=32)


@st.composite
def columns(draw: st.DrawFn, width: int = 0) -> Column:
    steps = sorted(draw(st.sets(st.integers(0, 30), max_size=8)))
    shape = (len(steps), width) if width else (len(steps),)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return Column(np.array(steps, np.int64), draw(arrays.arrays(dtype, shape, elements=any_float)))


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    named = draw(st.dictionaries(st.sampled_from(["loss", "gradient_norm"]), columns()))
    if draw(st.booleans()):
        named["point"] = draw(columns(width=2))
    end = {"point": draw(arrays.arrays(np.float64, 2, elements=st.floats()))}
    notes = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True))
    return Trajectory(named, draw(st.sampled_from([{}, end])), {"torch": "2"}, tuple(notes))


@given(trajectories())
def test_it_survives_json_and_pickle_to_the_bit(trajectory: Trajectory) -> None:
    text = trajectory.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for twin in (Trajectory.from_json(text), pickle.loads(pickle.dumps(trajectory))):
        assert twin == trajectory
        assert twin.environment == trajectory.environment and twin.notes == trajectory.notes
        for name, column in trajectory.columns.items():
            assert twin[name].values.dtype == column.values.dtype


@given(trajectories(), trajectories(), trajectories())
def test_merging_is_associative_and_the_later_counts(
    a: Trajectory, b: Trajectory, c: Trajectory
) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge(a, b, c)
    assert merge(Trajectory(), a) == merge(a, Trajectory()) == a
    both = merge(a, b)
    for name in {*a.columns, *b.columns}:
        expected = {}
        for step, value in a[name]:
            if not len(b[name]) or step < b[name].steps[0]:
                expected[step] = value
        expected |= dict(b[name])
        assert both[name].steps.tolist() == sorted(expected)
        np.testing.assert_array_equal(
            both[name].values, np.array([expected[s] for s in sorted(expected)]).reshape(
                both[name].values.shape
            )
        )  # fmt: skip


@given(trajectories())
def test_a_table_has_a_row_for_every_step_seen(trajectory: Trajectory) -> None:
    table = trajectory.table()
    steps = table.pop("step").tolist()
    seen = {step for column in trajectory.columns.values() for step in column.steps.tolist()}
    assert steps == sorted(seen)
    assert all(values.shape == (len(steps),) for values in table.values())
    for name, column in trajectory.columns.items():
        parts = [name] if column.values.ndim == 1 else [f"{name}[0]", f"{name}[1]"]
        rows = np.stack([table[part] for part in parts], -1)
        for step, value in column:
            np.testing.assert_array_equal(rows[steps.index(step)], np.atleast_1d(value))
        unseen = [steps.index(step) for step in seen - set(column.steps.tolist())]
        assert np.isnan(rows[unseen]).all()


def test_equality_is_of_what_was_seen() -> None:
    one = Trajectory({"loss": Column([0, 1], [1.0, math.nan])}, environment={"torch": "1"})
    assert one == Trajectory({"loss": Column([0, 1], [1.0, math.nan])}, environment={})
    assert one != Trajectory({"loss": Column([0, 1], [1.0, math.inf])})
    assert one != Trajectory({"loss": Column([0, 2], [1.0, math.nan])})
    assert one != Trajectory({"loss": Column([0, 1], [1.0, math.nan])}, end={"x": np.ones(1)})
    assert one != Trajectory({"other": Column([0, 1], [1.0, math.nan])})
    assert one != "one"


def test_it_cannot_be_changed() -> None:
    values = np.array([1.0, 2.0])
    trajectory = Trajectory({"loss": Column(np.arange(2), values)}, end={"point": values})
    values[0] = 9.0
    assert trajectory["loss"].values[0] == trajectory.end["point"][0] == 1.0
    for array in (trajectory["loss"].values, trajectory["loss"].steps, trajectory.end["point"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3
    with pytest.raises(TypeError):
        trajectory.columns["loss"] = Column([0], [0.0])  # type: ignore[index]


def test_what_was_not_recorded_is_empty() -> None:
    assert len(Trajectory()["loss"]) == 0
    assert Trajectory().steps == 0 and Trajectory().table()["step"].size == 0
    assert Trajectory.of_losses([3.0, 2.0]).steps == 2


def test_until_cuts_every_column_and_drops_the_end() -> None:
    whole = Trajectory(
        {"loss": Column([0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0]), "norm": Column([0, 3], [1.0, 2.0])},
        end={"point": np.zeros(2)},
    )
    part = whole.until(2)
    assert part["loss"].steps.tolist() == [0, 1, 2] and part["norm"].steps.tolist() == [0]
    assert not part.end and merge(part, whole) == whole


def test_the_environment_names_no_machine() -> None:
    import platform

    found = environment()
    assert {"python", "torch", "numpy", "thalweg", "system"} <= found.keys()
    assert platform.node() not in found.values()


@pytest.mark.parametrize(
    ("steps", "values", "words"),
    [
        ([0, 1], [1.0], "one value for each step"),
        ([1, 1], [1.0, 2.0], "increase"),
        ([0.5], [1.0], "whole numbers"),
        ([0], ["a"], "numbers"),
        ([0], 1.0, "one value for each step"),
    ],
)
def test_a_malformed_column_is_refused(steps: object, values: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Column(steps, values)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [{}, {"format": 9}, {"format": 1, "columns": 3}])
def test_foreign_data_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Trajectory.from_dict(data)


def test_columns_of_different_shape_do_not_merge() -> None:
    flat = Trajectory({"x": Column([0], [1.0])})
    with pytest.raises(UsageError, match="one shape"):
        merge(flat, Trajectory({"x": Column([1], [[1.0, 2.0]])}))
