"""``thalweg run``: the numbers of a run against theory, the same seed, and what cannot run."""

import json
import math

import numpy as np
import pytest

from tests.cli.conftest import Program
from thalweg.record.folder import RunFolder
from thalweg.trajectory import Trajectory


def test_a_noisy_quadratic_ends_as_theory_says(thalweg_program: Program) -> None:
    """x' = (1 − ηλ)x − ηω is normal with variance η²s²/(1 − (1 − ηλ)²), λ = 2."""
    call = ("run", "x**2", "--lr", "0.1", "--noise", "gaussian:1.5", "--start", "0")
    more = ("--trials", "4000", "--steps", "100", "--target", "0", "--within", "0.2,0.5", "--json")
    found = thalweg_program(*call, *more)
    assert found.status == 0
    told = json.loads(found.out)
    deviation = 0.1 * 1.5 / math.sqrt(1 - 0.8**2)
    assert abs(told["rms"] - deviation) < 4 * told["rms_error"]
    assert told["rms_error"] == pytest.approx(deviation / math.sqrt(2 * 4000), rel=0.1)
    for radius in ("0.2", "0.5"):
        exact = math.erf(float(radius) / deviation / math.sqrt(2))
        error = math.sqrt(exact * (1 - exact) / 4000)
        assert abs(told["within"][radius] - exact) < 4 * error
        low, high = told["within_interval"][radius]
        assert low < told["within"][radius] < high
    assert told["smoothing_radius"] is None and told["smoothing_deviation"] == pytest.approx(0.15)
    assert told["diverged"] == 0 and told["cost"] == 400_000
    (basin,) = told["basins"]
    assert basin["share"] == 1 and basin["minimum"] == pytest.approx([0], abs=1e-9)
    assert json.loads(thalweg_program(*call, *more).out)["rms"] == told["rms"]
    assert json.loads(thalweg_program(*call, *more, "--seed", "1").out)["rms"] != told["rms"]


def test_the_table_says_where_trials_ended(thalweg_program: Program) -> None:
    found = thalweg_program(
        *("run", "spiky", "--lr", "0.002", "--noise", "uniform:25", "--start", "uniform:-1:1"),
        *("--trials", "300", "--steps", "50", "--target", "0", "--within", "1"),
        *("--exit-from", "0.1545", "--exit-radius", "0.15"),
    )
    assert found.status == 0 and "0.15450" in found.out.replace("0.1545 ", "0.15450 ")
    assert "smoothing radius η·r: 0.05" in found.out
    for words in ("95% interval", "within 1 of the target", "rms distance", "exit:", "evaluations"):
        assert words in found.out


def test_divergence_is_counted(thalweg_program: Program) -> None:
    call = ("run", "bounded_saddle", "--lr", "0.3", "--start", "0,4", "--trials", "3", "--json")
    told = json.loads(thalweg_program(*call).out)
    assert told["diverged"] == told["elsewhere"] == 3 and told["basins"] == []
    assert told["median_loss"] is None


def test_minima_beyond_the_domain_of_a_landscape_are_found(thalweg_program: Program) -> None:
    """modulated knows those between −3 and 3, and has one in every period of its cosine."""
    call = ("run", "modulated", "--domain", "-6:6", "--start", "5", "--lr", "1e-5", "--json")
    told = json.loads(thalweg_program(*call, "--steps", "2", "--trials", "3").out)
    (basin,) = told["basins"]
    assert abs(basin["minimum"][0] - 5) < math.pi / 20 and not told["basins_known"]
    own = ("run", "modulated", "--steps", "2", "--trials", "3", "--json")
    assert json.loads(thalweg_program(*own).out)["basins_known"]


def test_a_run_is_saved(thalweg_program: Program, tmp_path: object) -> None:
    folder = f"{tmp_path}/run"
    call = ("run", "saddle", "--steps", "20", "--trials", "5", "--save", folder)
    assert thalweg_program(*call, "--quiet").status == 0
    run = RunFolder.open(folder)
    saved = Trajectory.from_json((run.path / "trajectory.json").read_text())
    np.testing.assert_array_equal(run.metrics()["loss"].values, saved["loss"].values)
    assert saved.end["points"].shape == (5, 2)
    assert thalweg_program(*call).status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spyky",), "did you mean spiky"),
        (("x**",), "formula"),
        (("x**2", "--lr", "-1"), "--lr must be a number above 0, not -1"),
        (("x**2", "--trials", "0"), "--trials must be a whole number of 1 or more, not 0"),
        (("x**2", "--steps", "2.5"), "--steps"),
        (("x**2", "--target", "0,1"), "--target must be 1 number"),
        (("rosenbrock", "--target", "1"), "--target must be 2 numbers"),
        (("x**2", "--target", "5", "--domain", "-1:1"), "--domain must hold the target"),
        (("x**2", "--domain", "1:-1"), "LOW < HIGH"),
        (("x**2", "--noise", "unform:2"), "did you mean 'uniform'"),
        (("x**2", "--noise", "uniform:-2"), "noise"),
        (("x**2", "--optimizer", "sgdd"), "did you mean 'sgd'"),
        (("x**2", "--optimizer", "sgd(momentum=-1)"), "momentum"),
        (("x**2", "--optimizer", "sgd(momentum=exit())"), "--optimizer must be a name"),
        (("x**2", "--optimizer", "sgd(lr=1)"), "lr"),
        (("x**2", "--schedule", "cosin"), "did you mean 'cosine'"),
        (("x**2", "--within", "1"), "--within needs a --target"),
        (("x**2", "--target", "0", "--within", "1,,2"), "--within must be numbers above 0"),
        (("x**2", "--start", "1,2"), "--start must be 1 number"),
        (("x**2", "--start", "unifrm:1"), "did you mean 'uniform'"),
        (("x**2", "--batch", "3"), "batch must be None"),
        (("x**2", "--exit-radius", "3"), "--exit-from"),
        (("x**2", "--exit-from", "1,2"), "--exit-from must be 1 number"),
        (("rosenbrock", "--trials", "2", "--optimizer", "lbfgs"), "one trial only"),
        (("x**2", "--stepz", "4"), "did you mean --steps"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_run_is_one_sentence(
    thalweg_program: Program, arguments: tuple[str, ...], words: str
) -> None:
    found = thalweg_program("run", *arguments)
    assert found.status == 2 and found.out == ""
    assert words in found.err and found.err.count("\n") == 1
