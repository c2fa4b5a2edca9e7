"""The figure of a spectrum, and what is said of it."""

import json
import math

import numpy as np
import pytest
import torch
from plotly.utils import PlotlyJSONEncoder

from problems import Dense, Formula, symmetric
from thalweg.errors import UsageError
from thalweg.measure.spectrum import Spectrum, spectrum
from thalweg.show.density_figure import spectral_density
from thalweg.show.spectrum_page import spectrum_page
from thalweg.show.spectrum_text import COLUMNS, row, rows, sentence

EIGENVALUES = np.r_[np.linspace(-0.1, 0.1, 150), 2.0, 5.0, 9.0]


@pytest.fixture(scope="module")
def found() -> Spectrum:
    matrix, _ = symmetric(EIGENVALUES, 0)
    return spectrum(Dense(matrix), torch.zeros(1).double(), rtol=0.3)


@pytest.fixture(scope="module")
def nothing() -> Spectrum:
    return spectrum(Formula(3, lambda x: (x * x).sum(-1) * math.nan), torch.zeros(3).double())


@pytest.mark.parametrize("scale", ["linear", "symlog", None])
def test_the_line_holds_all_eigenvalues_and_the_ticks_are_the_outliers(
    found: Spectrum, scale: str | None
) -> None:
    figure = spectral_density(found, scale=scale)
    line, ticks = figure.data
    places = np.array(line.customdata, float)
    heights = np.array([0.0 if y is None else y for y in line.y])
    count = float(np.trapezoid(heights, places))
    assert count == pytest.approx(len(EIGENVALUES), rel=0.05)
    assert list(ticks.customdata) == found.density.outliers.tolist()
    assert {2.0, 5.0, 9.0} <= {round(v, 6) for v in ticks.customdata}
    if scale == "linear":
        assert list(line.x) == list(line.customdata)
    json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder, allow_nan=False)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_ticks_stand_at_the_foot_of_the_axis_whatever_its_unit(size: float) -> None:
    matrix, _ = symmetric(size * EIGENVALUES, 0)
    figure = spectral_density(spectrum(Dense(matrix), torch.zeros(1).double(), rtol=0.3))
    low, high = figure.layout.yaxis.range
    heights = {round((math.log10(y) - low) / (high - low), 6) for y in figure.data[1].y}
    assert heights == {0.03}


def test_several_share_a_figure(found: Spectrum) -> None:
    figure = spectral_density([found, found])
    assert len(figure.data) == 4 and figure.layout.showlegend


def test_what_cannot_be_drawn_is_refused(found: Spectrum, nothing: Spectrum) -> None:
    with pytest.raises(UsageError, match="scale must be linear or symlog, not 'log'"):
        spectral_density(found, scale="log")
    for empty in ([], nothing):
        with pytest.raises(UsageError, match="must hold a spectrum with finite eigenvalues"):
            spectral_density(empty)


def test_the_numbers_in_words(found: Spectrum, nothing: Spectrum) -> None:
    table = {name: value for name, value, _ in rows(found)}
    assert table["λ1"] == "9" and "λ153" in table and float(table["effective rank"]) > 1
    assert len(row(found)) == len(COLUMNS)
    assert "of its curvature is negative" in sentence(found)
    assert "not finite" in sentence(nothing) and rows(nothing)[0][1] == "not finite"


def test_the_page_holds_all_it_needs(found: Spectrum, nothing: Spectrum, tmp_path) -> None:
    path = spectrum_page([found], tmp_path / "page.html", source="a <b> task")
    page = path.read_text()
    assert "a &lt;b&gt; task" in page and "effective rank" in page
    assert "http://" not in page.split('id="plotly"')[0]
    assert "Spectrum" in spectrum_page([nothing, found], tmp_path / "two.html").read_text()
