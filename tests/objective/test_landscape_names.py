"""Names, arguments and formulas from text: the landscape meant, or the library's own error."""

import contextlib
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.objective import landscapes


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("spiky", "spiky"),
        (" Spiky ", "spiky"),
        ("bounded saddle", "bounded saddle"),
        ("bounded-saddle", "bounded saddle"),
        ("spiky(amplitude=0.5)", "spiky"),
        ("quadratic([1, -2, 3])", "quadratic"),
        ("matrix_factorization(singular_values=(3, 2), rank=2)", "matrix factorization"),
        ("rosenbrock(3)", "rosenbrock"),
        ("rosenbrock (\n dim = 3,)", "rosenbrock"),
        ("double_well(tilt=-0.1)", "double well"),
        ("x", "x"),
        ("sin(x)", "sin(x)"),
        ("(x)", "(x)"),
        ("x**2 + 0.3*cos(20*x)", "x**2 + 0.3*cos(20*x)"),
    ],
)
def test_a_text_names_a_landscape(text: str, name: str) -> None:
    assert landscapes.from_reference(text).name == name


def test_arguments_arrive() -> None:
    assert landscapes.from_reference("spiky(0.5, domain=2)").domain == ((-2.0, 2.0),)
    assert landscapes.from_reference("quadratic([1, -2, 3])").critical[0].curvatures == (-2, 1, 3)
    assert landscapes.from_reference("rosenbrock(dim=4)").dim == 4
    assert landscapes.from_reference("double_well(tilt=-0.1)").infimum == pytest.approx(
        landscapes.double_well(0.1).infimum
    )
    assert landscapes.get("spiky", amplitude=0.5).smoothness == 2 + 0.5 * 400


@pytest.mark.parametrize("name", landscapes.CATALOGUE)
def test_every_name_is_found_under_itself(name: str) -> None:
    assert landscapes.get(name).name == landscapes.from_reference(name).name
    assert getattr(landscapes, name) is landscapes.CATALOGUE[name]


def test_a_file_of_knots_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a curve.csv").write_text("0 1\n1 0\n2 1\n")
    landscape = landscapes.from_reference(f"spline:{tmp_path / 'a curve.csv'}")
    assert landscape.name == "a curve" and landscape.minima == ((1.0,),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spikey", "did you mean spiky"),
        ("spikey(amplitude=1)", "did you mean spiky"),
        ("rozenbrock(3)", "did you mean rosenbrock"),
        ("hello world", "name must be one of ackley, .* not 'hello world'"),
        ("spiky(size=2)", r"among \(amplitude=0.3, frequency=20.0, domain=3.0\), not \(size=2\)"),
        ("saddle(1)", r"among \(none\)"),
        ("spiky(1, 2, 3, 4)", "arguments of spiky"),
        ("spiky(amplitude=1, amplitude=2)", "arguments must be"),
        ("spiky(0.5, amplitude=1)", "arguments of spiky"),
        ("spiky(amplitude=x)", "arguments must be numbers"),
        ("spiky(amplitude=open(1))", "arguments must be numbers"),
        ("spiky(*x)", "arguments must be numbers"),
        ("spiky(**x)", "arguments must be numbers"),
        ("spiky(True)", "arguments must be numbers"),
        ("spiky('1')", "arguments must be numbers"),
        ("spiky(1)(2)", "arguments must be numbers"),
        ("spiky(2**9**9)", "arguments must be numbers"),
        ("spiky(1j)", "arguments must be numbers"),
        ("quadratic(" + "[" * 500 + "]" * 500 + ")", "arguments must be numbers"),
        ("quadratic(" + "-" * 5000 + "1)", "arguments must be numbers"),
        ("quadratic(" + "9" * 5000 + ")", "arguments must be numbers"),
        ("quadratic(3)", "eigenvalues must be at least one"),
        ("quadratic([[1]])", "eigenvalues must be a finite number"),
        ("quadratic([1e999])", "eigenvalues must be a finite number"),
        ("spiky([1])", "amplitude must be a finite number"),
        ("rosenbrock(2.0)", "dim must be 2"),
        ("spiky(amplitude=0.5", "formula must"),
        ("spline:/no/such/file", "readable file of knots"),
        ("spline:\0", "readable file of knots"),
        ("x +", "formula must"),
        ("", "formula must not be empty"),
        ("x" * 200_000, "at most 100000 characters"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_whatever_else_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        landscapes.from_reference(text)


def test_names_that_are_no_text_are_refused() -> None:
    for wrong in (landscapes.get, landscapes.from_reference):
        with pytest.raises(UsageError, match="must be a text, not int"):
            wrong(3)  # pyright: ignore[reportArgumentType]


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    for whole in (text, f"spiky({text})", f"spline:{text}"):
        with contextlib.suppress(UsageError):
            landscapes.from_reference(whole)


def test_fuzzed_references_raise_nothing_but_the_librarys_error() -> None:
    source = random.Random(1)
    parts = [*landscapes.CATALOGUE, "(", ")", "=", ",", "1", "-", "0.5", "[", "]", "dim", "x", " "]
    parts += ["amplitude", "\n", "'", "1e99", "9" * 40, "None", "*", "lambda", ":", "é", "\\"]
    for _ in range(1_000):
        text = "".join(source.choices(parts, k=source.randint(1, 8)))
        if source.random() < 0.5:
            values = ["1", "-3", "0.1", "1e99", "1e-99", "[1, 2]", "0", "9" * 30, "-1e20", "777"]
            text = f"{source.choice([*landscapes.CATALOGUE])}({source.choice(values)})"
        try:
            landscape = landscapes.from_reference(text)
        except UsageError:
            continue
        point = torch.zeros(landscape.dim, dtype=torch.float64)
        assert landscape.loss(point).shape == ()
