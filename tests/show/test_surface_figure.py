"""Pictures of a surface: what is drawn is what was found, gaps stay gaps, cameras agree."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.problems import Formula
from thalweg.errors import UsageError
from thalweg.measure.directions import Flat, through
from thalweg.measure.surface import Surface, surface
from thalweg.show.surface_figure import surface_line, surface_map, surface_view
from thalweg.show.surface_page import surface_page

PLANE = Flat(torch.zeros(2), torch.eye(2), ("x", "y"), "plain")


def wells(points: torch.Tensor) -> torch.Tensor:
    return (points[..., 0] ** 2 - 1) ** 2 + points[..., 1] ** 2 + 0.1


def drawn(*, logarithm: bool = False, walk: bool = False) -> Surface:
    path = {k: torch.tensor([1.5 - 0.1 * k, 1.0 - 0.1 * k]) for k in range(6)} if walk else None
    of = Formula(2, wells)
    return surface(of, PLANE, size=21, span=1.5, logarithm=logarithm, walk=path, exact=True)


def test_a_map_has_the_values_the_path_and_the_critical_points() -> None:
    found = drawn(walk=True)
    contour, track, *marks = surface_map(found).data
    assert np.array_equal(contour.z.astype(float), found.values)
    assert np.array_equal(contour.x, found.x) and np.array_equal(contour.y, found.y)
    assert track.x == pytest.approx(found.walk.coordinates[:, 0])  # type: ignore[union-attr]
    assert [mark.name for mark in marks] == ["centre", "lowest", "minimum", "saddle"]
    assert (marks[3].x[0], marks[3].y[0]) == pytest.approx((0, 0))


def test_heights_are_logarithms_where_the_view_is_with_losses_on_the_scale() -> None:
    found = drawn(logarithm=True)
    figure = surface_view(found)
    ground = figure.data[0]
    assert ground.z.astype(float) == pytest.approx(np.log10(found.values))
    assert ground.customdata.astype(float) == pytest.approx(found.values)
    places, texts = figure.layout.scene.zaxis.tickvals, figure.layout.scene.zaxis.ticktext
    assert [float(text) for text in texts] == pytest.approx([10**p for p in places], rel=0.02)


def test_the_path_follows_the_ground() -> None:
    found = drawn(walk=True)
    track = surface_view(found).data[1]
    heights = wells(torch.tensor(np.stack([track.x, track.y], 1))).numpy()
    above = track.z.astype(float) - heights
    assert np.abs(above - above.mean()).max() < 0.03 * np.ptp(found.values)


def test_level_ground_has_room_about_it_and_no_lowest_place(tmp_path: Path) -> None:
    found = surface(Formula(2, lambda p: 1.1 + 0 * p.sum(-1)), PLANE, size=21)
    low, high = surface_view(found).layout.scene.zaxis.range
    assert low < 1.1 < high
    assert [mark.name for mark in surface_map(found).data[1:]] == ["centre"]
    page = surface_page(found, tmp_path / "page.html").read_text()
    assert "Contours of the loss; the ring is the centre." in page


def test_two_views_have_one_camera_and_one_scale() -> None:
    high = surface(Formula(2, lambda p: 3 * wells(p)), PLANE, size=21, span=1.5)
    layout = surface_view([drawn(), high], names=("<one>", "two")).layout
    assert layout.scene.camera == layout.scene2.camera
    assert layout.scene.zaxis.range == layout.scene2.zaxis.range
    assert layout.annotations[0].text == "&lt;one&gt;"


def test_gaps_are_drawn_as_gaps() -> None:
    of = Formula(2, lambda p: torch.log(p[..., 0] + 0.5))
    found = surface(of, PLANE, size=11, exact=True)
    z = surface_map(found).data[0].z
    gaps = ~np.isfinite(found.values)
    assert gaps.any() and all(value is None for value in z[gaps])
    assert all(value is None for value in surface_view(found).data[0].z[gaps])


def test_a_line_marks_what_was_evaluated() -> None:
    line = through([torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])])
    found = surface(Formula(2, wells), line, size=81, span=((0.0, 1.0),))
    curve, dots = surface_line(found).data
    assert len(curve.x) == 81 and len(dots.x) == found.loss.evaluations < 50
    with pytest.raises(UsageError, match="along a line: see surface_line"):
        surface_map(found)
    with pytest.raises(UsageError, match="over a plane: see surface_map"):
        surface_line(drawn())


def test_a_quantity_that_was_not_read_is_refused() -> None:
    with pytest.raises(UsageError, match="one of loss, not 'accuracy'"):
        surface_map(drawn(), quantity="accuracy")


def test_a_page_holds_its_figures(tmp_path: Path) -> None:
    page = surface_page(drawn(logarithm=True, walk=True), tmp_path / "page.html").read_text()
    figures = page.split('id="figures">')[1].split("</script>")[0]
    assert set(json.loads(figures)) == {"surface-view", "surface-map"}
    assert "All 441 values were evaluated." in page
