"""Smoothed losses: closed forms by hand, the three methods against each other, honest errors."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.objective.derivatives import Hessian
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import Landscape, from_callable
from thalweg.objective.noise import Ball, Gaussian, Noise, Sphere, StudentT, Uniform
from thalweg.objective.smoothed import Smoothed

METHODS = ("closed form", "quadrature", "sampling")
EACH = [Uniform(0.3), Ball(0.4), Sphere(0.25), Gaussian(0.2), StudentT(0.1, 12.0)]
each = pytest.mark.parametrize("noise", EACH, ids=str)
each_method = pytest.mark.parametrize("method", METHODS)


def landscape(text: str) -> Landscape:
    formula = Formula.parse(text)
    return Landscape(formula, formula.dim, formula=text)


def points_of(*shape: int) -> Tensor:
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(7)).double() - 1


@pytest.mark.parametrize("k", [0.5, 3.0, 20.0, 137.0])
def test_a_cosine_shrinks_by_sinc_or_by_a_gaussian(k: float) -> None:
    x = points_of(50, 1)
    wave, slope = (k * x[:, 0]).cos(), -k * (k * x[:, 0]).sin()
    for noise, factor in [
        (Uniform(0.7), math.sin(k * 0.7) / (k * 0.7)),
        (Ball(0.7), math.sin(k * 0.7) / (k * 0.7)),
        (Gaussian(0.2), math.exp(-0.5 * (k * 0.2) ** 2)),
        (Sphere(0.7), math.cos(k * 0.7)),
        (StudentT(0.3, 1.0), math.exp(-0.3 * k)),
    ]:
        smoothed = Smoothed(landscape(f"cos({k}*x)"), noise)
        assert smoothed.method == "closed form"
        torch.testing.assert_close(smoothed.loss(x), factor * wave, rtol=0, atol=1e-12)
        gradient = smoothed.gradient(x)[:, 0]
        torch.testing.assert_close(gradient, factor * slope, rtol=0, atol=1e-12 * k)


@each
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_quadratic_gains_half_the_trace(noise: Noise, dim: int) -> None:
    a = torch.randn(dim, dim, generator=torch.Generator().manual_seed(dim)).double()
    hessian = a + a.T
    text = " + ".join(
        f"({0.5 * float(hessian[i, j])!r})*x{i}*x{j}" for i in range(dim) for j in range(dim)
    )
    x = points_of(20, dim)
    plain = 0.5 * (x @ hessian * x).sum(-1)
    gain = 0.5 * float(hessian.trace()) * noise.variance(dim)
    for method in METHODS if dim < 3 else ("closed form", "sampling"):
        smoothed = Smoothed(landscape(text), noise, method=method)
        loss, error = smoothed.loss_and_error(x)
        slope = smoothed.gradient(x)
        if method == "sampling":
            assert ((loss - plain - gain).abs() <= 5 * error + 1e-12).all()
        else:
            torch.testing.assert_close(loss, plain + gain, rtol=1e-9, atol=1e-9)
        # Antithetic pairs: the slope of a quadratic is exact by every method.
        torch.testing.assert_close(slope, x @ hessian, rtol=1e-9, atol=1e-9)


numbers = st.integers(-8, 8).filter(bool).map(lambda n: n / 4)


@st.composite
def formulas(draw: st.DrawFn) -> str:
    terms = ["0.1*x", "0.1*y"]
    for _ in range(draw(st.integers(1, 3))):
        n, m, c, d = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(numbers), draw(numbers)
        wave = f"*{draw(st.sampled_from(['cos', 'sin']))}({4 * c}*x + ({d})*y + {abs(d)})"
        terms.append(f"({d})*x**{n}*y**{m}" + (wave if draw(st.booleans()) else ""))
    return " + ".join(terms).replace("*x**0", "").replace("*y**0", "")


@settings(max_examples=30)
@given(formulas(), st.sampled_from(EACH))
def test_the_three_methods_agree(text: str, noise: Noise) -> None:
    objective = landscape(text)
    x = points_of(3, 2)
    truth = Smoothed(objective, noise, method="quadrature", tolerance=1e-7)
    loss, error = truth.loss_and_error(x)
    slope, slope_error = truth.gradient_and_error(x)
    best = Smoothed(objective, noise)
    torch.testing.assert_close(best.loss(x), loss, rtol=1e-7, atol=float(error.max()) + 1e-9)
    atol = float(slope_error.max()) + 1e-8
    torch.testing.assert_close(best.gradient(x), slope, rtol=1e-6, atol=atol)
    sampled = Smoothed(objective, noise, method="sampling", samples=4000, seed=3)
    for values, exact in [
        (sampled.loss_and_error(x), loss),
        (sampled.gradient_and_error(x), slope),
    ]:
        assert ((values[0] - exact).abs() <= 6 * values[1] + 1e-6).all()


@pytest.mark.parametrize("text", ["x**2*(0.5 + 0.3*cos(9*x))", "(x**3 - x)*sin(40*x + 1)"])
@pytest.mark.parametrize("noise", [Uniform(0.8), Gaussian(0.5)], ids=str)
def test_modulated_polynomials_have_a_closed_form(text: str, noise: Noise) -> None:
    x = points_of(40, 1)
    found, by_quadrature = (Smoothed(landscape(text), noise, method=m) for m in METHODS[:2])
    torch.testing.assert_close(found.loss(x), by_quadrature.loss(x), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.gradient(x), by_quadrature.gradient(x), rtol=1e-9, atol=1e-9)


@each
@each_method
@pytest.mark.parametrize("text", ["x**2 + 0.3*cos(5*x)", "x**2 - y**2 + 0.2*sin(3*x + 2*y)"])
def test_the_gradient_is_the_derivative_of_the_loss(text: str, noise: Noise, method: str) -> None:
    smoothed = Smoothed(landscape(text), noise, method=method, samples=64)
    dim = smoothed.dim
    x = points_of(4, dim)
    step = 1e-4
    moves = step * torch.eye(dim, dtype=torch.float64)
    ahead, behind = (smoothed.loss(x[:, None] + way * moves) for way in (1, -1))
    slope = smoothed.gradient(x)
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)
    leaf = x.clone().requires_grad_()
    (automatic,) = torch.autograd.grad(smoothed.loss(leaf).sum(), leaf)
    torch.testing.assert_close(slope, automatic, rtol=1e-7, atol=1e-7)
    hessian = Hessian(smoothed, x[0]).dense()
    ahead, behind = (smoothed.gradient(x[0] + way * moves) for way in (1, -1))
    torch.testing.assert_close(hessian, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-5)


def test_a_kink_is_rounded_off_as_the_integral_says() -> None:
    a = 0.4
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    inside = x[:, 0].abs() < a
    expected = torch.where(inside, (x[:, 0] ** 2 + a * a) / (2 * a), x[:, 0].abs())
    smoothed = Smoothed(landscape("abs(x)"), Uniform(a))
    assert smoothed.method == "quadrature"
    loss, error = smoothed.loss_and_error(x)
    assert ((loss - expected).abs() <= 2 * error + 1e-12).all()
    assert error.max() < 1e-7
    slope, error = smoothed.gradient_and_error(x)
    expected = (x / a).clamp(-1, 1)
    assert ((slope - expected).abs() <= error + 1e-12).all()
    # Of a jump the mean is a ramp, whose slope no average of slopes would see.
    slope, _ = Smoothed(landscape("sign(x)"), Ball(a)).gradient_and_error(x)
    torch.testing.assert_close(slope[:, 0], inside.double() / a)


def test_narrow_spikes_are_resolved_and_what_is_not_is_said() -> None:
    x = points_of(30, 1)
    triangle = "2/pi*atan(1e4*sin(60*x)/cos(60*x))"  # a sawtooth, steep to 1e-6
    for text, size in [("exp(-(x/0.01)**2)", 0.5), ("abs(sin(300*x))", 1.0), (triangle, 0.5)]:
        smoothed = Smoothed(landscape(text), Uniform(size))
        loss, error = smoothed.loss_and_error(x)
        fine = torch.linspace(-size, size, 2_000_001, dtype=torch.float64)[:, None]
        dense = torch.stack([landscape(text).loss(p - fine).mean() for p in x[:5]])
        assert ((loss[:5] - dense).abs() <= 3 * error[:5] + 2e-5).all(), text
        assert error.max() < 1e-2


def test_values_that_are_not_finite_stay_so() -> None:
    x = torch.tensor([[0.5], [2.0], [-3.0]], dtype=torch.float64)
    smoothed = Smoothed(landscape("log(x)"), Uniform(1.0))
    loss, error = smoothed.loss_and_error(x)
    assert loss.isnan().tolist() == error.isnan().tolist() == [True, False, True]
    assert float(loss[1]) == pytest.approx((3 * math.log(3) - 2) / 2)  # ½∫₁³ log
    sampled = Smoothed(landscape("log(x) + y + z"), Uniform(1.0))
    loss, _ = sampled.loss_and_error(torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64))
    assert sampled.method == "sampling" and loss.isnan().all()


def test_means_that_do_not_exist_are_not_finite() -> None:
    x = points_of(5, 1)
    heavy = Smoothed(tw.landscapes.spiky(), StudentT(0.1, 1.5))
    assert heavy.method == "closed form"
    assert torch.equal(heavy.loss(x), torch.full((5,), math.inf, dtype=torch.float64))
    assert heavy.loss_and_error(x)[1].isnan().all()
    slope = heavy.gradient(x)  # of order one: it has a mean
    other, error = Smoothed(heavy.objective, heavy.noise, method="quadrature").gradient_and_error(x)
    assert ((slope - other).abs() <= error).all()
    assert Smoothed(landscape("x**3"), StudentT(0.1, 2.5)).loss(x).isnan().all()
    unknown, error = Smoothed(landscape("x**4 + abs(x)"), StudentT(0.1, 3.0)).loss_and_error(x)
    assert (error == math.inf).all(), unknown


@each
def test_the_error_bar_of_sampling_covers(noise: Noise) -> None:
    objective = landscape("cos(3*x + y - 2*z) + 0.2*x**2*y**2")
    x = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    dense = Smoothed(objective, noise, method="sampling", samples=400_000, seed=999)
    exact, _ = dense.loss_and_error(x)
    scores = []
    for seed in range(150):
        smoothed = Smoothed(objective, noise, method="sampling", samples=200, seed=seed)
        loss, error = smoothed.loss_and_error(x)
        scores.append(float((loss - exact) / error))
    assert 0.7 < np.mean(np.square(scores)) < 1.4
    assert abs(np.mean(scores)) < 0.35


@each_method
def test_a_point_has_its_loss_whatever_stands_beside_it(method: str) -> None:
    smoothed = Smoothed(landscape("x**2 - y**2 + sin(5*x)"), Gaussian(0.2), method=method)
    x = points_of(3, 4, 2)
    together = smoothed.loss(x)
    assert together.shape == (3, 4) and smoothed.gradient(x).shape == (3, 4, 2)
    alone = torch.stack([smoothed.loss(p) for p in x.reshape(-1, 2)]).reshape(3, 4)
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-13)
    single = smoothed.loss(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=1e-4, atol=1e-4)
    assert smoothed.loss(x[:0]).shape == (0, 4)
    assert smoothed.gradient_and_error(x[:0])[1].shape == (0, 4, 2)
    again = pickle.loads(pickle.dumps(smoothed))
    assert torch.equal(again.loss(x), together)


def test_draws_in_blocks_are_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = from_callable(lambda x: (x**4).sum(-1), 3)
    monkeypatch.setattr("thalweg.objective.smoothed.ROWS", 99)
    smoothed = Smoothed(objective, Uniform(1.0), samples=3000)
    x = points_of(7, 3)
    loss, error = smoothed.loss_and_error(x)
    exact = (x**4 + 2 * x**2 + 0.2).sum(-1)
    assert ((loss - exact).abs() <= 5 * error).all() and error.max() < 0.1
    torch.testing.assert_close(smoothed.loss(x), loss)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(smoothed.loss(leaf).sum(), leaf)
    torch.testing.assert_close(slope, smoothed.gradient(x))
    pairs = torch.cat([smoothed._draws(*block, x)[0] for block in smoothed._blocks()])
    assert pairs.shape == (1500, 3) and len(pairs.unique(dim=0)) == 1500
    values = ((x[0] - pairs) ** 4).sum(-1) / 2 + ((x[0] + pairs) ** 4).sum(-1) / 2
    torch.testing.assert_close(error[0], values.std() / 1500**0.5)


@each
def test_without_noise_the_loss_is_the_loss(noise: Noise) -> None:
    for text in ("x**2 + cos(x)", "abs(x)", "abs(x) + y + z"):
        objective = landscape(text)
        x = points_of(4, objective.dim)
        loss, error = Smoothed(objective, noise.scaled(0)).loss_and_error(x)
        torch.testing.assert_close(loss, objective.loss(x))
        assert error.max() < 1e-12


def test_a_network_is_smoothed_by_sampling() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 3), torch.randn(40, 1)
    objective = tw.Supervised(nn.Linear(3, 1), nn.functional.mse_loss, (inputs, targets))
    smoothed = tw.Smoothed(objective, "gaussian:0.1", samples=400)
    point = objective.point()
    loss, error = smoothed.loss_and_error(point)
    trace = float(Hessian(objective, point).dense().trace())
    exact = objective.value(point) + 0.5 * trace * 0.01
    assert smoothed.method == "sampling" and abs(float(loss) - exact) <= 5 * float(error)
    assert float(error) < 0.1 * exact
    slope = smoothed.gradient(point)
    torch.testing.assert_close(slope, objective.value_and_gradient(point)[1], rtol=1e-3, atol=1e-4)


def test_descent_on_the_smoothed_loss_leaves_the_spikes() -> None:
    smoothed = tw.Smoothed(tw.landscapes.spiky(), tw.noise.Uniform(math.pi / 20))
    plan = tw.Plan(learning_rate=0.1, steps=200, trials=20, starts="uniform:-3:3")
    ends = tw.run(smoothed, plan).end["points"]
    assert np.abs(ends).max() < 1e-9  # sinc(π) = 0: nothing is left but the bowl
    assert smoothed.start(torch.Generator().manual_seed(0), 5).shape == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": "unifrom:1"}, "did you mean 'uniform'"),
        ({"noise": 3}, "noise must be uniform:A"),
        ({"objective": abs}, "objective must be an Objective"),
        ({"samples": 1}, "samples must be a whole number of 4 or more, not 1"),
        ({"samples": 1e3}, "samples must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, not -1"),
        ({"tolerance": 0.0}, "tolerance must be above 0"),
        ({"method": "magic"}, "method must be quadrature or sampling for this objective"),
        ({"method": "closed form"}, "method must be quadrature or sampling for this objective"),
    ],
    ids=str,
)
def test_what_cannot_be_smoothed_is_said(arguments: dict[str, object], message: str) -> None:
    given = {"objective": from_callable(lambda x: x[..., 0] ** 2, 1), "noise": "uniform:1"}
    with pytest.raises(UsageError) as caught:
        Smoothed(**(given | arguments))  # type: ignore[arg-type]
    assert message in str(caught.value)
    smoothed = Smoothed(landscape("x**2"), "uniform:1")
    for ask in (smoothed.loss, smoothed.gradient, smoothed.loss_and_error):
        with pytest.raises(UsageError, match="points must have shape"):
            ask(torch.zeros(3, 2))


def test_an_expansion_that_loses_digits_is_not_used() -> None:
    objective = landscape("(x - 30)**24")
    shifted = Landscape(objective.function, 1, formula=objective.formula, domain=((28.0, 32.0),))
    assert Smoothed(shifted, Uniform(1.0)).method == "quadrature"
    assert Smoothed(landscape("cos(x)**24*sin(y)**24*x*y"), Uniform(1.0)).method == "quadrature"
    other = Landscape(lambda x: x[..., 0] ** 2, 1, formula="x**3")
    assert Smoothed(other, Uniform(1.0)).method == "quadrature"
