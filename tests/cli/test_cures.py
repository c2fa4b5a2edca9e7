"""`thalweg cures`: what it lists, tells and refuses."""

import json

import pytest

from tests.cli.conftest import Program
from thalweg.diagnose.combination import named
from thalweg.diagnose.cures import CATALOGUE, cure_named, full_name, in_loop


def test_all_of_them_are_listed_advice_apart(thalweg_program: Program) -> None:
    status, out, _ = thalweg_program("cures")
    assert status == 0
    raced, advice = out.split("Advice:\n")
    for kind in CATALOGUE:
        cure = cure_named(full_name(kind))
        assert cure is not None
        (line,) = [row for row in out.splitlines() if row.startswith(f"  {cure.name}  ")]
        assert line.endswith(cure.summary)
        assert line in (advice if cure.change is None else raced)
    names = thalweg_program("cures", "--quiet").out.splitlines()
    assert names == [full_name(kind) for kind in CATALOGUE]


def test_one_is_told_in_full_with_its_number_and_its_loop(thalweg_program: Program) -> None:
    cure = cure_named("staged over 7")
    assert cure is not None
    _, out, _ = thalweg_program("cures", "staged over 7", "scale_inputs")
    for text in (cure.summary, cure.costs, cure.source, "milestones=[7, 21, 49, 105]"):
        assert text in out
    assert "scale_inputs (advice, not raced)" in out
    told = json.loads(thalweg_program("cures", "staged over 7", "--loop", "--json").out)
    assert told["cures"][0]["code"] == in_loop(cure)
    assert told["cures"][0]["raced"] is True


def test_two_at_once_are_told_as_a_race_names_them(thalweg_program: Program) -> None:
    name = "learning_rate x0.3 + ema 0.99"
    both = named(name)
    assert both is not None
    told = json.loads(thalweg_program("cures", name, "--json").out)["cures"]
    assert [(each["name"], each["code"]) for each in told] == [(name, both.code)]
    out = thalweg_program("cures", name, "--loop").out
    assert all(line.strip() in out for line in in_loop(both).splitlines())
    assert both.costs in out and both.source in out


def test_capitals_are_no_mistake(thalweg_program: Program) -> None:
    out = thalweg_program("cures", "Adam 0.01", "EMA", "--quiet").out
    assert out == "adam 0.01\nema 0.99\n"


def test_newton_steps_stand_in_the_loop_in_place_of_the_gradient(thalweg_program: Program) -> None:
    out = thalweg_program("cures", "newton_cg", "--loop").out
    assert "backward()" not in out and out.count("for inputs, targets in loader:") == 1
    assert "decay=decay" in out and "newton_step(objective, point, products=10)" in out


def test_a_tasks_data_are_asked_for_evidence(thalweg_program: Program) -> None:
    out = thalweg_program("cures", "scale_inputs", "--task", "case:unscaled_columns").out
    assert "Here: The standard deviations of the inputs' columns differ by a factor of" in out


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("adm", "there is no cure adm: did you mean adam 0.01?"),
        ("Cosin over 20", "did you mean cosine over 100?"),
        ("cosine 20 steps", "did you mean cosine over 100?"),
        ("learning_rate x0", "no cure learning_rate x0: factor must be a number above 0, not 0.0"),
        ("ema 1", "there is no cure ema 1: decay must be a number between 0 and 1, not 1.0"),
        ("clip 1 + ema 1", "decay must be a number between 0 and 1, not 1.0"),
        ("ema 0.9 + swa", "there is no cure ema 0.9 + swa: the second would undo the first"),
        ("levitate", "there is no cure levitate: thalweg cures names them"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(
    name: str, hint: str, thalweg_program: Program
) -> None:
    status, out, err = thalweg_program("cures", name)
    assert (status, out) == (2, "")
    assert hint in err
