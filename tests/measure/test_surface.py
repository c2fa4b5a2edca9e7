"""Surfaces: true coordinates, what is kept in a folder, several processes, other quantities."""

import copy
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.problems import Formula, classes, network, vectors
from thalweg.errors import FolderError, UsageError
from thalweg.measure.directions import Flat, random_directions, through
from thalweg.measure.surface import surface
from thalweg.objective.supervised import Supervised

DATA = (vectors(60, 5), classes(60))
UNSEEN = (vectors(40, 5, seed=5), classes(40, seed=6))


def objective() -> Supervised:
    return Supervised(network(), cross_entropy, DATA)


def plane(of: Supervised, seed: int = 0) -> Flat:
    return random_directions(of, of.point(), generator=torch.Generator().manual_seed(seed))


def test_every_value_is_the_loss_of_the_model_moved_by_its_coordinates() -> None:
    model = network()
    of = Supervised(model, cross_entropy, DATA)
    flat = plane(of)
    before = copy.deepcopy(model.state_dict())
    found = surface(of, flat, size=7, span=((-1.0, 0.5), (0.2, 0.4)), exact=True)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert found.y is not None
    for row, column in ((0, 0), (3, 5), (6, 1)):
        moved = copy.deepcopy(model)
        shift = found.x[column] * flat.axes[0] + found.y[row] * flat.axes[1]
        nn.utils.vector_to_parameters(
            nn.utils.parameters_to_vector(moved.parameters()) + shift, moved.parameters()
        )
        with torch.no_grad():
            expected = float(cross_entropy(moved(DATA[0]), DATA[1]))
        assert found.values[row, column] == pytest.approx(expected, rel=1e-12)
    assert (found.x[0], found.x[-1], found.y[0], found.y[-1]) == (-1.0, 0.5, 0.2, 0.4)


def test_few_values_are_as_good_as_all() -> None:
    of = objective()
    flat = plane(of)
    few, every = surface(of, flat, size=31), surface(of, flat, size=31, exact=True)
    assert few.loss.evaluations < 0.25 * every.loss.evaluations
    assert np.abs(few.values - every.values).max() <= few.loss.bound <= 0.01 * few.loss.range
    assert "held back" in few.sentence() and "times fewer" in few.sentence()
    assert every.sentence() == "All 961 values were evaluated."
    assert few.largest_error.value == few.loss.share
    assert few.cost == pytest.approx(few.loss.evaluations / 3)
    assert few.centre == pytest.approx(of.value(of.point()))


def test_a_line_between_two_points_ends_at_them() -> None:
    of = objective()
    ends = [of.point(), of.point() + 1]
    found = surface(of, through(ends), size=21, span=((0.0, 1.0),), exact=True)
    assert found.y is None and found.critical == ()
    assert found.values[[0, -1]] == pytest.approx([of.value(end) for end in ends])


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_level_ground_is_said_to_be_such(logarithm: bool, exact: bool) -> None:
    """Of a network whose hidden units are all dead."""
    first = nn.Linear(5, 4)
    nn.init.constant_(first.bias, -100.0)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 3)).double()
    of = Supervised(model, cross_entropy, DATA)
    flat = plane(of)
    found = surface(of, flat, size=21, accuracy=True, logarithm=logarithm, exact=exact)
    said = f"The loss is the same everywhere shown: {found.loss.evaluations} of 441 values were"
    assert found.sentence() == f"{said} evaluated."
    assert (found.loss.evaluations < 100) != exact
    assert (found.values == found.centre).all() and found.largest_error.value == 0
    assert np.isnan(found.lowest).all() and found.critical == ()
    json.dumps(found.to_dict(), allow_nan=False)


def test_ground_that_differs_by_rounding_alone_is_level() -> None:
    of = Formula(2, lambda p: p[..., 0].sin() ** 2 + p[..., 0].cos() ** 2)
    flat = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")
    found = surface(of, flat, size=31)
    assert found.loss.range > 0 and found.loss.evaluations < 100
    assert "the same everywhere shown, but for rounding: " in found.sentence()
    tiny = Formula(2, lambda p: 1 + 1e-9 * p[..., 0] ** 2)
    assert not surface(tiny, flat, size=31).loss.level


def test_where_nothing_is_finite_that_is_said() -> None:
    of = Formula(2, lambda p: torch.log(-1 - p[..., 0] ** 2))
    flat = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")
    assert surface(of, flat, size=21).sentence() == "All 441 values were evaluated: none is finite."


def test_a_network_of_zeros_is_shown_along_directions_of_length_1() -> None:
    model = network()
    nn.utils.vector_to_parameters(0 * objective().point(), model.parameters())
    of = Supervised(model, cross_entropy, DATA)
    found = surface(of, plane(of), size=9)
    assert found.loss.range > 0 and "of length 1" in found.flat.kind


def test_coordinates_closer_than_single_precision_are_refused() -> None:
    of = Formula(2, lambda p: p.float().square().sum(-1))
    of.start = lambda generator, trials=1: torch.zeros(trials, 2)  # type: ignore[method-assign]
    flat = Flat(torch.full((2,), 3e3), torch.eye(2), ("x", "y"), "plain")
    with pytest.raises(UsageError, match="span must be wider: float32 cannot tell"):
        surface(of, flat, size=9, span=1e-4)
    (note,) = surface(of, flat, size=9, span=0.0103).notes
    assert note.startswith("rounding moves points by up to")


def test_accuracy_and_held_out_loss_are_read_at_the_same_places() -> None:
    of = objective()
    others = of.on(UNSEEN)
    flat = plane(of)
    found = surface(of, flat, size=9, exact=True, accuracy=True, held_out=others)
    assert list(found.beside) == ["accuracy", "held-out loss", "held-out accuracy"]
    point = flat.at(torch.tensor([found.x[2], found.x[5]]))
    assert found.beside["held-out loss"].values[5, 2] == pytest.approx(others.value(point))
    model = network()
    nn.utils.vector_to_parameters(point, model.parameters())
    right = (model(UNSEEN[0]).argmax(1) == UNSEEN[1]).double().mean()
    assert found.beside["held-out accuracy"].values[5, 2] == pytest.approx(float(right))


def test_held_out_examples_serve_as_well_as_their_loss() -> None:
    of = objective()
    flat = plane(of)
    given, told = (
        surface(of, flat, size=np.int64(5), held_out=held_out).beside["held-out loss"].values  # type: ignore[arg-type]
        for held_out in (of.on(UNSEEN), UNSEEN)
    )
    assert (given == told).all()
    bare = Formula(2, lambda p: p.square().sum(-1))
    at = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")
    with pytest.raises(UsageError, match="held_out must be an objective beside Formula"):
        surface(bare, at, held_out=UNSEEN)


def test_accuracy_of_what_does_not_classify_is_refused() -> None:
    of = Supervised(network(), nn.functional.mse_loss, (vectors(6, 5), vectors(6, 3)))
    with pytest.raises(UsageError, match="whose targets are classes"):
        surface(of, plane(of), size=5, accuracy=True)


class Stop(Exception):
    pass


def stopping_after(count: int) -> Callable[[int, int], None]:
    def progress(done: int, most: int) -> None:
        if done >= count:
            raise Stop

    return progress


def test_it_goes_on_from_what_a_folder_keeps(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    of = objective()
    flat = plane(of)
    whole = surface(of, flat, size=31, tolerance=1e-3)
    with pytest.raises(Stop):
        surface(of, flat, size=31, tolerance=1e-3, folder=tmp_path, progress=stopping_after(60))
    lines = (tmp_path / "values.txt").read_text()
    (tmp_path / "values.txt").write_text(lines + "3 4 0.1")  # cut off as it was written
    known = len(lines.splitlines())
    counted = 0
    plain = Supervised.plain_value

    def counting(self: Supervised, point: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        counted += 1
        return plain(self, point)

    monkeypatch.setattr(Supervised, "plain_value", counting)
    again = surface(of, flat, size=31, tolerance=1e-3, folder=tmp_path)
    assert (again.values == whole.values).all()
    about = 3  # two for the fingerprint, one for the centre
    assert counted == whole.loss.evaluations - known + about


def test_the_folder_of_another_surface_is_refused(tmp_path: Path) -> None:
    of = objective()
    surface(of, plane(of), size=5, folder=tmp_path / "one")
    with pytest.raises(FolderError, match="holds another"):
        surface(of, plane(of, seed=1), size=5, folder=tmp_path / "one")
    with pytest.raises(FolderError, match="holds another"):
        surface(of.on(UNSEEN), plane(of), size=5, folder=tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "notes").write_text("mine")
    with pytest.raises(FolderError, match="must be empty or hold a surface"):
        surface(of, plane(of), size=5, folder=tmp_path / "two")


@pytest.mark.parametrize("line", [b"3 4 garbage\n", b"\xff\xfe 4 1.0\n", b"\n", b"1 2 3 4.0\n"])
def test_a_damaged_folder_is_said_to_be_such(tmp_path: Path, line: bytes) -> None:
    of = objective()
    surface(of, plane(of), size=5, folder=tmp_path)
    (tmp_path / "values.txt").write_bytes(line)
    with pytest.raises(FolderError, match=r"values\.txt must hold numbers alone, but is damaged"):
        surface(of, plane(of), size=5, folder=tmp_path)


def test_two_processes_give_the_same_surface() -> None:
    of = objective()
    flat = plane(of)
    alone = surface(of, flat, size=21)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def shared(work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterable[Any]:
            return pool.map(work, parts)

        together = surface(of, flat, size=21, map=shared)
    assert (together.values == alone.values).all()


def test_a_walk_is_projected_and_has_its_own_losses() -> None:
    of = objective()
    flat = plane(of)
    inside = flat.at(torch.tensor([[0.5, 0.5], [0.2, -0.1], [0.0, 0.0]]))
    found = surface(of, flat, size=5, walk=dict(zip((0, 10, 20), inside)))
    assert found.walk is not None and found.walk.steps == (0, 10, 20)
    assert found.walk.share == pytest.approx(1)
    assert found.walk.coordinates[1] == pytest.approx([0.2, -0.1])
    assert found.walk.losses == pytest.approx([of.value(point) for point in inside])


def test_critical_points_of_a_plane_that_is_all_there_is() -> None:
    of = Formula(2, lambda p: (p[..., 0] ** 2 - 1) ** 2 + p[..., 1] ** 2)
    flat = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")
    found = surface(of, flat, size=41, span=2.0)
    told = {(spot.kind, *np.round(found.at(spot.index), 1) + 0.0) for spot in found.critical}
    assert told == {("minimum", -1.0, 0.0), ("minimum", 1.0, 0.0), ("saddle", 0.0, 0.0)}


def test_it_leaves_as_plain_numbers() -> None:
    of = Formula(2, lambda p: torch.log(p[..., 0] + 0.5) + p[..., 1] ** 2)
    flat = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")
    found = surface(of, flat, size=11)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["loss"]["values"][0][0] is None
    assert told["axes"] == [{"name": "x", "length": 1.0}, {"name": "y", "length": 1.0}]
    assert told["loss"]["evaluations"] == found.loss.evaluations


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ({"size": 2}, "size must be a whole number from 3"),
        ({"span": 0.0}, "span must be a number above 0"),
        ({"span": ((0.0, 1.0),)}, "span must be a number above 0 or 2 pairs"),
        ({"span": float("inf")}, "span must be a number above 0"),
        ({"span": (0, 1)}, r"span must be a number above 0 or 2 pairs .* not \(0, 1\)"),
        ({"span": None}, "span must be a number above 0"),
        ({"size": True}, "size must be a whole number from 3"),
    ],
    ids=["size", "span", "pairs", "infinite", "numbers", "none", "truth"],
)
def test_what_cannot_be_drawn_is_refused(how: dict[str, Any], rule: str) -> None:
    of = objective()
    with pytest.raises(UsageError, match=rule):
        surface(of, plane(of), **how)
