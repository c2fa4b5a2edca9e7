import json

import pytest

from tests.cli.conftest import Program

SPIKY = "x**2 + 0.3*cos(20*x)"


def test_the_certificate_is_printed_and_is_json(thalweg_program: Program) -> None:
    options = ("--lr", "0.1", "--noise", "uniform:3", "--domain", "-3:3", "--target", "0")
    status, out, _ = thalweg_program("guarantee", SPIKY, *options)
    assert status == 0 and "Escape certificate, rigorous" in out
    assert "12 of 19 other minima are left behind" in out
    status, out, _ = thalweg_program("guarantee", SPIKY, *options, "--json")
    content = json.loads(out)
    assert status == 0 and content["one_point_convex"]
    assert content["smoothing_radius"] == pytest.approx(0.3)
    assert content["certificate"]["status"] == "rigorous"
    status, out, _ = thalweg_program("guarantee", SPIKY, *options, "--quiet", "--estimate")
    assert status == 0 and out.count("\n") == 1 and "(estimated)" in out


def test_a_name_of_the_catalogue_brings_its_domain(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("guarantee", "spiky", "--lr", "0.1", "--noise", "uniform:3")
    assert status == 0 and "domain -3:3" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("x**2 --lr -0.1 --noise uniform:3", "--lr must be a number above 0, not -0.1"),
        ("x**2 --lr 0.1", "--noise must be given"),
        ("x**2 --lr 0.1 --noise uniform:-3", "must be a finite number of 0 or more"),
        ("x**2 --lr 0.1 --noise unifrom:3", "did you mean 'uniform'"),
        ("x**2 --lr 0.1 --noise uniform:3 --domain -1e300:1e300", "between -1e+100 and 1e+100"),
        ("x**2 --lr 0.1 --noise uniform:3 --domain 1:2", "domain must hold the target 0 inside"),
        ("x**2 --lr 0.1 --noise uniform:3 --domain -1:1,-1:1", "domain must have one side, not 2"),
        ("x**2 --lr 0.1 --noise uniform:3 --target 0,0", "target must have one coordinate"),
        ("x**2+ --lr 0.1 --noise uniform:3", "formula must be complete and well formed"),
        ("spikey --lr 0.1 --noise uniform:3", "did you mean spiky?"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: str, sentence: str, thalweg_program: Program) -> None:
    status, out, err = thalweg_program("guarantee", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("thalweg: ") and sentence in err and err.count("\n") == 1
