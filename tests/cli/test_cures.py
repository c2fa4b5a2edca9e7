"""`thalweg cures`: what it lists, tells and refuses."""

import json

import pytest

from tests.cli.conftest import Program
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


def test_a_tasks_data_are_asked_for_evidence(thalweg_program: Program) -> None:
    out = thalweg_program("cures", "scale_inputs", "--task", "case:unscaled_columns").out
    assert "Here: The standard deviations of the inputs' columns differ by a factor of" in out


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("adm", "there is no cure adm: did you mean adam 0.01?"),
        ("Cosine over 20", "did you mean cosine over 100?"),
        ("learning_rate x0", "did you mean learning_rate x0.1?"),
        ("levitate", "there is no cure levitate: thalweg cures names them"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(
    name: str, hint: str, thalweg_program: Program
) -> None:
    status, out, err = thalweg_program("cures", name)
    assert (status, out) == (2, "")
    assert hint in err
