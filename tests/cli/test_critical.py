"""`thalweg critical`: what it prints and answers."""

import json

import pytest

from tests.cli.conftest import Program


def test_himmelblau_by_name(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("critical", "himmelblau", "--starts", "200")
    lines = out.splitlines()
    assert status == 0 and len(lines) == 11
    assert lines[0].split() == ["kind", "index", "point", "loss", "eigenvalues", "error", "starts"]
    assert lines[-1].startswith("4 minima, 4 saddles, 1 maximum from 200 starts, ")


def test_json_is_one_object(thalweg_program: Program) -> None:
    out = thalweg_program("critical", "x**3 - 3*x*y**2", "--json", "--seed", "1").out
    told = json.loads(out)
    (point,) = told["points"]
    assert point["kind"] == "degenerate" and max(map(abs, point["point"])) < 1e-6
    assert told["seed"] == 1 and told["starts"] == 1000 and told["cost"] > 1000
    assert told["domain"] == [[-3, 3], [-3, 3]]


def test_quiet_prints_the_totals(thalweg_program: Program) -> None:
    out = thalweg_program("critical", "(x**2 - 1)**2", "--domain", "-2:2", "--quiet").out
    assert out.startswith("2 minima, 1 maximum from 1000 starts") and out.count("\n") == 1


def test_a_domain_for_each_coordinate(thalweg_program: Program) -> None:
    arguments = ("critical", "himmelblau", "--domain", "0:5,0:5", "--starts", "300", "--json")
    told = json.loads(thalweg_program(*arguments).out)
    assert told["domain"] == [[0, 5], [0, 5]]
    assert [point["kind"] for point in told["points"]] == ["minimum", "saddle", "saddle"]


def test_nothing_found_is_said(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("critical", "x + 2*y")
    assert status == 0
    assert out.startswith("no critical point from 1000 starts (1000 led nowhere), ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("himmelblow",), "himmelblau"),
        (("x**",), "formula must be complete"),
        (("himmelblau", "--domain", "3:2"), "--domain must be LOW:HIGH with LOW < HIGH"),
        (("himmelblau", "--domain", "0:1,0:1,0:1"), "--domain must be LOW:HIGH"),
        (("himmelblau", "--domain", "nan:1"), "--domain must be LOW:HIGH"),
        (("himmelblau", "--starts", "0"), "--starts must be a whole number of 1 or more, not 0"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], message: str, thalweg_program: Program
) -> None:
    status, out, err = thalweg_program("critical", *arguments)
    assert status == 2 and out == ""
    assert message in err and err.startswith("thalweg: ") and err.count("\n") == 1
