"""Formulas: against torch's derivatives and Python's own arithmetic, and safe from any text."""

import contextlib
import math
import pickle
import random
import sys
import warnings
from collections.abc import Iterator

import flint
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.objective.expression import FUNCTIONS, Expression, Power, Variable
from thalweg.objective.formula import Formula

TEXTS = [
    "x**2 + 0.3*cos(20*x)",
    "x**2 - y**2 + 0.1*sin(5*x*y)",
    "-x**2/(1 + y**2) - (x - y)/(2 + sin(z))",
    "exp(-(x - 1)**2) * log(2 + x**2) * sqrt(1 + y**2)",
    "tan(x/3) + tanh(x*y) - sinh(y)/cosh(x) + atan(x - 2*y)",
    "abs(x - y) + max(x, y**2) * min(x*y, 0.3)",
    "2**x + e**(x*y) + pi*x**-2 + x**0.5 + (1 + x)**1.5/y",
    "x0*x1*x2*x3 - (x0 + x1)**3*(x2 - x3)**2 + 0*x4",
    "  (x)\n+\t+-+-y*1e-3 + .5*x - 2.*y",
    "((x + y)**2)**3 - x*x*x/x/x + 3 - 2**-1",
    "sign(x)*x + max(2, 3)*x - abs(-4)",
]
every_text = pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))

PYTHON = {
    **{name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)},
    "abs": abs,
    "min": min,
    "max": max,
    "sign": lambda u: float(u > 0) - float(u < 0),
    "pi": math.pi,
    "e": math.e,
}


def points_of(formula: Formula, count: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 + 2 * torch.rand(count, formula.dim, generator=generator, dtype=torch.float64)


@every_text
def test_values_are_those_of_pythons_own_arithmetic(text: str) -> None:
    formula = Formula.parse(text)
    points = points_of(formula)
    truth = [
        eval(" ".join(text.split()), {**PYTHON, **dict(zip(formula.variables, point))})
        for point in points.tolist()
    ]
    truth = torch.tensor(truth, dtype=torch.float64)
    torch.testing.assert_close(formula(points), truth, rtol=1e-13, atol=1e-13)
    numbers = [formula.evaluate(point) for point in points.tolist()]
    np.testing.assert_allclose(numbers, truth, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(formula.evaluate(points.T.numpy()), truth, rtol=1e-13, atol=1e-13)


@every_text
def test_derivatives_are_those_of_autograd(text: str) -> None:
    formula = Formula.parse(text)
    points = points_of(formula).requires_grad_()
    (slopes,) = torch.autograd.grad(formula(points).sum(), points, create_graph=True)
    for i, name in enumerate(formula.variables):
        derivative = formula.derivative(name)
        torch.testing.assert_close(derivative(points), slopes[:, i], rtol=1e-12, atol=1e-12)
        total = slopes[:, i].sum() + 0 * points.sum()  # a constant slope, too, has a derivative
        (second,) = torch.autograd.grad(total, points, retain_graph=True)
        for j, other in enumerate(formula.variables):
            twice = derivative.derivative(other)(points)
            torch.testing.assert_close(twice, second[:, j], rtol=1e-11, atol=1e-11)


@every_text
def test_a_tree_written_out_is_read_as_the_same_function(text: str) -> None:
    formula = Formula.parse(text)
    for tree in (formula.tree, formula.derivative(formula.variables[0]).tree):
        again = Formula.parse(f"{tree} + {' + '.join('0*' + name for name in formula.variables)}")
        points = points_of(formula)
        truth = Formula(tree, formula.variables, "")(points)
        torch.testing.assert_close(again(points), truth, rtol=1e-13, atol=1e-13)


@every_text
def test_leading_dimensions_dtype_and_pickling(text: str) -> None:
    formula = Formula.parse(text)
    points = points_of(formula, 12)
    whole = formula(points)
    assert torch.equal(formula(points.reshape(3, 2, 2, formula.dim)).flatten(), whole)
    assert formula(points[0]).shape == ()
    assert formula(points.float()).dtype == torch.float32
    twin = pickle.loads(pickle.dumps(formula))
    assert twin == formula and torch.equal(twin(points), whole)


ARB = {
    name: (lambda u, name=name: getattr(flint.arb(u), name)())
    for name in FUNCTIONS
    if hasattr(flint.arb, name)
}
ARB |= {"abs": abs, "sign": lambda u: flint.arb(u).sgn()}
ARB |= {"min": lambda u, v: flint.arb(u).min(v), "max": lambda u, v: flint.arb(u).max(v)}


@every_text
def test_balls_enclose_the_values(text: str) -> None:
    formula = Formula.parse(text)
    for point in points_of(formula, 5).tolist():
        for at in (formula, formula.derivative(formula.variables[0])):
            ball = at.evaluate([flint.arb(x, 1e-6) for x in point], ARB)
            ball = flint.arb(ball)
            value = float(at.evaluate(point))
            slack = 1e-12 * (1 + abs(value))
            assert ball.is_finite()
            assert float(ball.lower()) - slack <= value <= float(ball.upper()) + slack


def test_a_power_of_ones_own_takes_the_place_of_the_operator() -> None:
    seen = []

    def own(base: float, exponent: float) -> float:
        seen.append(exponent)
        return base**exponent

    assert Formula.parse("x**3 + x**0.5").evaluate([4.0], {"power": own}) == 66.0
    assert seen == [3, 0.5] and isinstance(seen[0], int)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x*x*x", "x**3"),
        ("x + 2*x - 3*x", "0"),
        ("x**2*x**3", "x**5"),
        ("x/x", "x*x**(-1)"),
        ("(x**2)**3", "x**6"),
        ("2*(3*(4*x))", "24*x"),
        ("sin(1 - 1)*x + 0*cos(x)", "0"),
        ("1*x**1 + x**0", "x + 1"),
        ("-(-x)", "x"),
        ("cos(pi)*x", "-x"),
    ],
)
def test_trees_are_simplified(text: str, written: str) -> None:
    assert str(Formula.parse(text).tree) == written


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("x", ("x",)),
        ("y*x", ("x", "y")),
        ("w + x + y + z", ("x", "y", "z", "w")),
        ("x1 - x0", ("x0", "x1")),
        ("0*x + 0*y", ("x", "y")),
        (" + ".join(f"x{i}" for i in range(12)), tuple(f"x{i}" for i in range(12))),
    ],
)
def test_the_dimension_follows_from_the_variables(text: str, variables: tuple[str, ...]) -> None:
    formula = Formula.parse(text)
    assert formula.variables == variables and formula.dim == len(variables)


def test_a_constant_part_keeps_the_shape_and_what_is_not_finite() -> None:
    constant = Formula.parse("0*x + 3")
    points = torch.tensor([[1.0], [math.inf]], requires_grad=True)
    assert constant(points)[0] == 3.0 and constant(points)[1].isnan()
    constant(points).sum().backward()
    assert math.isnan(Formula.parse("log(x)").evaluate([-1.0]))
    assert math.isnan(Formula.parse("x**0.5").evaluate([-1.0]))
    assert Formula.parse("1/x").evaluate([0.0]) == math.inf


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x.real", r"x«\.»real"),
        ("x[0]", r"x«\[»0\]"),
        ("__import__('os').system('x')", "«__import__»"),
        ("lambda x: x", "«lambda»"),
        ("x if x else y", "«if»"),
        ("x^2", r"write powers as \*\*: x«\^»2"),
        ("2x", "2«x»"),
        ("sinn(x)", r"did you mean sin\?\): «sinn»\(x\)"),
        ("expp(x)", "did you mean exp"),
        ("x + q", r"x \+ «q»"),
        ("(x, x)", r"«\(x, x\)»"),
        ("sin(x, x)", "call sin with 1 argument"),
        ("max(x)", "call max with 2 arguments"),
        ("sin(*x)", "call sin with 1 argument"),
        ("sin(**x)", "call sin with 1 argument"),
        ("x(2)", r"«x\(2\)»"),
        ("sin()(x)", "«sin"),
        ("sin", "«sin»"),
        ("x +", r"well formed: x «\+»"),
        ("x x", "well formed: x «x»"),
        ("(x", "well formed"),
        ("x)", "well formed"),
        ("007*x", "well formed"),
        ("", "empty"),
        (" \n", "empty"),
        ("3", "use a variable"),
        ("y", "gap: «y»"),
        ("x + x1", "either"),
        ("x0 + x2", "gap: x0 [+] «x2»"),
        ("x\0", r"x«\\x00»"),
        ("x\ud800", r"x«\\ud800»"),
        ("x²", "x«²»"),
        ("\uff58", "«\uff58»"),
        ("1j*x", "1«j»"),
        ("9**9**9*x", r"at most 100: 9\*\*«9\*\*9»"),
        ("x**101", "x[*][*]«101»"),
        ("x**1e300", "at most 100"),
        ("(x**50)**50", "powers inside powers"),
        ("(x**50 + 1)**50", "powers inside powers"),
        ("x**x", r"numbers as powers, or of positive numbers: x\*\*«x»"),
        ("(-2)**x", "numbers as powers"),
        ("1e999*x", "«1e999»"),
        ("9" * 500 + "*x", "finite and real"),
        ("1e300*1e300*x", "finite and real"),
        ("exp(1000)*x", r"«exp\(1000\)»"),
        ("log(0)*x", r"«log\(0\)»"),
        ("(-8)**0.5*x", "finite and real"),
        ("0**-1*x", "finite and real"),
        ("x/0", "divide by zero: x/«0»"),
        ("x/(y - y)", "divide by zero"),
        ("x+" * 3000 + "x", "4000 characters"),
        ("(" * 50 + "x" + ")" * 50, "40 brackets"),
        ("x**" * 60 + "2", "levels deep"),
        ("-" * 3900 + "x", "formula must"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_whatever_else_is_refused_with_the_place_marked(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Formula.parse(text)
    message = str(caught.value)
    assert message.startswith("formula must") and len(message) < 400
    assert message.isprintable()


def test_wrong_use_is_one_sentence() -> None:
    formula = Formula.parse("x*y")
    with pytest.raises(UsageError, match="values must be 2"):
        formula.evaluate([1.0])
    with pytest.raises(UsageError, match="name must be one of x, y"):
        formula.derivative("z")
    with pytest.raises(UsageError, match="must be a text, not int"):
        Formula.parse(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="finite numbers"):
        Formula.parse("1e300*sin(1e300*x)").derivative("x")
    long = Formula.parse("*".join(f"sin({i}*x)" for i in range(1, 300)))
    with pytest.raises(UsageError, match="at most 100000 parts"):
        long.derivative("x")


# Text of all kinds. Whatever is accepted is a tree of few kinds, and nothing is run.

TAME = ["x", "y", "1", "2.5", "+", "-", "*", "/", "(x)", " ", "**2", "cos(x)", "min(x, y)"]
TOKENS = [
    *TAME,
    *FUNCTIONS,
    *("x", "y", "z", "w", "x0", "x1", "x11", "e", "pi", "0", "1", "2.5", "1e9", "1e999", "9" * 400),
    *("+", "-", "*", "/", "**", "(", ")", "(", ")", ",", " ", "%", "//", "@", "==", "<", ":=", "="),
    *("[", "]", "{", "}", ".", "'", '"', ";", ":", "\\", "#", "\n", "\t", "\r", "\f", "\0", "$"),
    *("lambda", "if", "else", "for", "in", "not", "await", "yield", "import", "None", "True"),
    *("__import__", "__class__", "open", "exec", "os", "f'{x}'", "1j", "0x1", "1_0", "é", "\ud800"),
    *("²", "−", "\u202e", "🙂", "**9", "**-1", "(x)", "sin(", "x*", "-" * 50, "(" * 30, "..."),
]


def soup(count: int, seed: int) -> Iterator[str]:
    source = random.Random(seed)
    for _ in range(count // 2):
        yield "".join(source.choices(TOKENS, k=source.randint(1, 14)))
    for _ in range(count - count // 2):
        text, tokens = source.choice(TEXTS), source.choice([TAME, TOKENS])
        for _ in range(source.randint(1, 3)):
            start = source.randrange(len(text) + 1)
            end = min(len(text), start + source.randint(0, 3))
            text = text[:start] + source.choice(tokens) + text[end:]
        yield text


def accepted(text: str) -> bool:
    try:
        formula = Formula.parse(text)
    except UsageError as error:
        message = str(error)
        assert message.startswith("formula must") and message.isprintable(), ascii(text)
        return False
    assert isinstance(formula.tree, Expression) and formula.dim >= 1
    assert np.isreal(formula.evaluate([0.5] * formula.dim))
    with contextlib.suppress(UsageError):
        formula.derivative(formula.variables[0])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_fuzzed_formulas_raise_nothing_but_the_librarys_error(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passed = sum(accepted(text) for text in soup(3_500, seed))
    assert passed > 100


def test_no_fuzzed_formula_executes_anything() -> None:
    texts = [*soup(2_000, 9), "eval('1')", "exec('x')", "open('x')", "().__class__.__mro__"]
    events: list[str] = []
    watched = {"exec", "open", "import", "os.system", "subprocess.Popen", "socket.connect"}

    def hook(event: str, _: object) -> None:
        if watching and event in watched:
            events.append(event)

    watching = True
    sys.addaudithook(hook)  # for good: it cannot be removed
    try:
        for text in texts:
            with contextlib.suppress(UsageError):
                Formula.parse(text)
        assert events == []
        exec("1")
        assert events == ["exec"]
    finally:
        watching = False


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    accepted(text)


numbers = st.floats(0.01, 9, allow_nan=False).map(lambda value: f"{value:.3g}")
trees = st.recursive(
    st.one_of(st.sampled_from(["x", "y"]), numbers),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda u: f"sin({u})"),
        inner.map(lambda u: f"tanh({u})"),
        inner.map(lambda u: f"(-{u})"),
        st.tuples(inner, st.integers(0, 3)).map(lambda t: f"({t[0]})**{t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}) / (2 + sin({t[1]}))"),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_random_trees_agree_with_python_and_autograd(body: str) -> None:
    text = f"{body} + 0*x + 0*y"
    formula = Formula.parse(text)
    points = points_of(formula, 3).requires_grad_()
    values = formula(points)
    truth = [eval(text, {**PYTHON, "x": x, "y": y}) for x, y in points.tolist()]
    scale = 1 + values.detach().abs().max()
    if not scale < 1e6:
        return
    assert (values.detach() - torch.tensor(truth, dtype=torch.float64)).abs().max() <= 1e-10 * scale
    (slopes,) = torch.autograd.grad(values.sum(), points)
    mine = torch.stack([formula.derivative(name)(points) for name in "xy"], -1).detach()
    assert (mine - slopes).abs().max() <= 1e-9 * (scale + slopes.abs().max())


def test_a_derivative_that_is_simple_is_written_simply() -> None:
    slope = Formula.parse("x**2 + 0.3*cos(20*x)").derivative("x")
    assert slope.text == "2*x - 6*sin(20*x)"
    assert slope.derivative("x").text == "-120*cos(20*x) + 2"
    assert Formula.parse("x**3").derivative("x").tree.factors[1] == Power(Variable("x"), 2)  # pyright: ignore[reportAttributeAccessIssue]
