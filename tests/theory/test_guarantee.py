import json
import math

import numpy as np
import pytest
import torch

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.objective.landscape import from_callable, from_formula
from thalweg.theory.guarantee import Guarantee, guarantee

SPIKY = from_formula("x**2 + 0.3*cos(20*x)")


@pytest.fixture(scope="module")
def certified() -> Guarantee:
    return guarantee(SPIKY, 0.1, "uniform:3", 0, "-3:3")


def test_spurious_minima_are_excluded_with_a_proof(certified: Guarantee) -> None:
    """Each exclusion follows from the closed-form constants by (6) alone, as no step leaves."""
    shown = certified.certificate
    assert shown.rigorous and shown.constants.closed and math.isinf(shown.ball)
    assert len(shown.exclusions) == len(certified.minima) - 1 == 19
    k = shown.constants
    q = max(abs(1 - 0.1 * k.convexity.value), abs(1 - 0.1 * k.slope.value)) ** 2
    limit = k.variance.value / (1 - q)
    for exclusion in shown.exclusions:
        mean = q**shown.steps * shown.start**2 + limit * (1 - q**shown.steps)
        expected = max(0.0, 1 - mean / exclusion.distance**2)
        assert exclusion.probability == pytest.approx(expected, abs=1e-9)
    assert len(shown.excluded) == 12
    assert certified.one_point_convex and not certified.paper.applies


def test_the_minima_are_those_of_the_function(certified: Guarantee) -> None:
    x = np.array(certified.minima)[:, 0]
    assert np.abs(2 * x - 6 * np.sin(20 * x)).max() < 1e-9
    assert (2 - 120 * np.cos(20 * x) > 0).all()


def test_weak_noise_fails_where_it_says() -> None:
    made = guarantee(SPIKY, 0.002, "uniform:25", 0, "-3:3")
    assert not made.one_point_convex and not made.certificate.says_something
    (failed,) = [h for h in made.hypotheses if h.name == "one-point convexity"]
    assert not failed.holds and failed.where is not None
    y, target = failed.where[0], made.constants.target[0]
    slope = (
        float(SPIKY.loss(torch.tensor([y + 0.05], dtype=torch.float64)))
        - float(SPIKY.loss(torch.tensor([y - 0.05], dtype=torch.float64)))
    ) / 0.1
    assert slope * (y - target) < 0
    assert "for certain" in failed.sentence


def test_a_target_beside_a_zero_is_moved_and_says_so() -> None:
    made = guarantee(from_formula("(x - 0.2)**2"), 0.1, "uniform:1", 0.1, "-1:1")
    assert made.moved == pytest.approx(0.1) and made.constants.target[0] == pytest.approx(0.2)
    assert "the target was moved by 0.1" in str(made)


def test_the_papers_theorem_is_never_told_as_a_certificate() -> None:
    made = guarantee(from_formula("x**2"), 0.01, "uniform:1", 0, "-3:3")
    assert made.paper.applies
    content = made.to_dict()
    assert content["paper"]["is_escape_certificate"] is False
    assert "Quoted from the paper: no certificate of an escape" in str(made)
    assert made.bounds.rate == pytest.approx(2 * 0.01 * 2 - 0.0001 * 4, rel=1e-6)


def test_a_wall_takes_its_steepest_slope() -> None:
    """With ηL ≤ 1, bounded noise above the largest |f′| climbs the wall, and below it never does."""
    well = from_formula("(x**2 - 1)**2/4")
    made = guarantee(well, 0.05, "uniform:0.3", 0.99, "-1.6:1.6")
    (left,) = made.basins
    assert left.minimum == pytest.approx(-1) and left.top == pytest.approx(0, abs=1e-9)
    assert left.height == pytest.approx(0.25)
    assert left.noise == pytest.approx(2 / math.sqrt(27), rel=1e-5)
    rng = np.random.default_rng(0)
    for r, leaves in ((0.99 * left.noise, False), (8 * left.noise, True)):
        x = np.full(500, -1.0)
        for _ in range(4000):
            x = x - 0.05 * (x**3 - x + rng.uniform(-r, r, 500))
        assert (x > 0.5).any() == leaves


def test_json_has_no_number_that_is_not_finite(certified: Guarantee) -> None:
    content = json.dumps(certified.to_dict(), allow_nan=False)
    assert json.loads(content)["c"]["status"] == "rigorous"
    heavy = guarantee(SPIKY, 0.1, "student-t:1:1.5", 0, "-3:3")
    json.dumps(heavy.to_dict(), allow_nan=False)
    assert not heavy.certificate.says_something


def test_an_estimate_is_never_called_rigorous() -> None:
    spiky = from_callable(lambda p: (p**2 + 0.3 * torch.cos(20 * p))[..., 0], 1)
    found = guarantee(spiky, 0.1, "uniform:3", 0, "-3:3")
    proved = guarantee(SPIKY, 0.1, "uniform:3", 0, "-3:3")
    assert found.certificate.status == "estimated" and "(estimated)" in found.sentence
    for name in ("convexity", "slope", "smoothness", "variance"):
        rough, sure = getattr(found.constants, name), getattr(proved.constants, name)
        assert not rough.rigorous and sure.rigorous
        assert rough.value == pytest.approx(sure.value, rel=0.05)
    with pytest.raises(UsageError, match="rigorous must be left out here"):
        guarantee(spiky, 0.1, "uniform:3", 0, "-3:3", rigorous=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0, not -0.1"),
        ({"domain": "1:2"}, "domain must hold the target 0 inside, but is 1:2"),
        ({"domain": "2:1"}, "domain must have sides with LOW below HIGH"),
        ({"domain": "-1:1,-1:1"}, "domain must have one side, not 2"),
        ({"target": "0,1"}, "target must have one coordinate, not 2"),
        ({"target": "nan"}, "target must have finite coordinates"),
        ({"noise": "unifrom:3"}, "did you mean 'uniform'"),
        ({"start": -1.0}, "start must be a distance of 0 or more"),
        ({"start": 3.5}, "inside the domain, so at most 3, not 3.5"),
    ],
)
def test_bad_arguments_are_told(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "learning_rate": 0.1,
        "noise": "uniform:3",
        "target": 0,
        "domain": "-3:3",
    } | change
    with pytest.raises(UsageError, match=message):
        guarantee(SPIKY, **given)  # type: ignore[arg-type]


def test_it_is_public() -> None:
    assert tw.theory.guarantee is guarantee
