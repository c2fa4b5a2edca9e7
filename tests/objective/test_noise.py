"""Noise: draws against moments and waves, closed forms against independent integrals."""

import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import hyp0f1

from thalweg.errors import UsageError
from thalweg.objective import noise as noises
from thalweg.objective import radial
from thalweg.objective.noise import Ball, Gaussian, Noise, Sphere, StudentT, Uniform, parse

DRAWS = 50_000
EACH = [Uniform(0.7), Ball(1.3), Sphere(0.9), Gaussian(0.4), StudentT(0.3, 9.0)]
each = pytest.mark.parametrize("noise", EACH, ids=str)
each_dim = pytest.mark.parametrize("dim", [1, 2, 3, 7])

sizes = st.floats(0, 1e6, allow_subnormal=False)
any_noise = st.one_of(
    *(sizes.map(kind) for kind in (Uniform, Ball, Sphere, Gaussian)),
    st.builds(StudentT, sizes, st.floats(0.1, 1e6)),
)


def draws_of(noise: Noise, dim: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return noise.draw((DRAWS, dim), torch.Generator().manual_seed(dim), dtype=dtype)


def agrees(values: torch.Tensor, expected: float, errors: float = 5) -> bool:
    return abs(float(values.mean()) - expected) <= errors * float(values.std()) / DRAWS**0.5 + 1e-6


@each
@each_dim
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_draws_have_the_moments_stated(noise: Noise, dim: int, dtype: torch.dtype) -> None:
    drawn = draws_of(noise, dim, dtype)
    assert drawn.dtype == dtype and drawn.shape == (DRAWS, dim)
    drawn = drawn.double()
    squares = (drawn**2).sum(-1)
    assert agrees(squares, noise.second_moment(dim))
    assert noise.variance(dim) == pytest.approx(noise.second_moment(dim) / dim)
    assert squares.max().sqrt() <= noise.bound(dim) * (1 + 1e-6)
    for axis in range(dim):
        assert agrees(drawn[:, axis], 0.0)
    if dim > 1:
        assert agrees(drawn[:, 0] * drawn[:, -1], 0.0)
    for orders in [(4,), (2, 2), (2, 0, 2), (1, 2)]:
        orders = (*orders, *(0,) * (dim - len(orders)))
        if len(orders) == dim:
            powers = math.prod(drawn[:, i] ** n for i, n in enumerate(orders))
            assert agrees(powers, noise.moment(orders))
    # Rows and coordinates are no copies of each other.
    assert len(drawn[:, 0].unique()) > (1 if dim == 1 and noise.kind == "sphere" else 0.9 * DRAWS)
    assert agrees((drawn[1:] * drawn[:-1]).sum(-1), 0.0)


@pytest.mark.parametrize(
    ("noise", "second_moment", "bound"),
    [
        (Uniform(2.0), lambda d: d * 4 / 3, lambda d: 2 * d**0.5),
        (Ball(2.0), lambda d: 4 * d / (d + 2), lambda d: 2.0),
        (Sphere(2.0), lambda d: 4.0, lambda d: 2.0),
        (Gaussian(2.0), lambda d: 4.0 * d, lambda d: math.inf),
        (StudentT(2.0, 3.0), lambda d: 12.0 * d, lambda d: math.inf),
        (StudentT(2.0, 2.0), lambda d: math.inf, lambda d: math.inf),
    ],
    ids=("uniform", "ball", "sphere", "gaussian", "student-t:3", "student-t:2"),
)
def test_second_moments_and_bounds_by_hand(noise, second_moment, bound) -> None:
    for dim in (1, 2, 5, 400):
        assert noise.second_moment(dim) == pytest.approx(second_moment(dim), rel=1e-12)
        assert noise.bound(dim) == pytest.approx(bound(dim), rel=1e-15)


@each
@each_dim
def test_waves_are_the_mean_cosine_of_draws(noise: Noise, dim: int) -> None:
    drawn = draws_of(noise, dim)
    generator = torch.Generator().manual_seed(1)
    for size in (0.3, 1.0, 4.0, 20.0):
        k = size * torch.randn(dim, generator=generator, dtype=torch.float64)
        assert agrees((drawn @ k).cos(), float(noise.characteristic(k)))
        assert agrees((drawn @ k).sin(), 0.0)
    many = torch.randn(3, 4, dim, generator=generator, dtype=torch.float64)
    assert noise.characteristic(many).shape == (3, 4)
    torch.testing.assert_close(noise.characteristic(many)[1, 2], noise.characteristic(many[1, 2]))
    assert noise.characteristic(torch.zeros(dim)) == 1


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 10, 57, 199, 203, 1000, 100_000])
def test_the_mean_wave_of_the_sphere_is_the_integral_over_one_coordinate(dim: int) -> None:
    def density(t: float) -> float:
        return math.exp((dim - 3) / 2 * math.log1p(-t * t)) if dim > 3 else 1.0

    scales = np.array([0.0, 1e-9, 0.1, 1.0, 3.0, 4.5, 7.0])
    z = scales * max(1.0, dim**0.5)
    found = radial.sphere_wave(z, dim)
    if dim == 1:
        expected = np.cos(z)
    elif dim == 2:
        expected = [
            integrate.quad(lambda u, z=z: math.cos(z * math.cos(u)), 0, math.pi)[0] / math.pi
            for z in z
        ]
    else:
        edge = min(1.0, 12 / dim**0.5)
        mass = integrate.quad(density, 0, edge, limit=500)[0]
        expected = [
            integrate.quad(
                lambda t, z=z: math.cos(z * t) * density(t), 0, edge, limit=500, epsabs=1e-13
            )[0]
            / mass
            for z in z
        ]
    np.testing.assert_allclose(found, expected, atol=1e-11)
    if dim < 60:
        z = np.linspace(0.5, 200, 50)
        np.testing.assert_allclose(
            radial.sphere_wave(z, dim), hyp0f1(dim / 2, -(z**2) / 4), atol=1e-11
        )


@pytest.mark.parametrize("freedom", [0.5, 1.0, 2.0, 3.0, 7.5, 99.0, 101.0, 1000.0])
def test_the_wave_of_students_t_is_the_mean_of_its_normals(freedom: float) -> None:
    """Given χ² the draw is normal, so its wave is that of a normal averaged over χ²."""
    uniform, weights = np.polynomial.legendre.leggauss(300)
    chi = stats.chi2(freedom).ppf((uniform + 1) / 2)
    k = np.array([0.0, 1e-7, 0.1, 0.5, 1.0, 2.0, 5.0])
    expected = np.exp(-0.5 * k[:, None] ** 2 * freedom / chi) @ weights / 2
    for dim in (1, 3):
        waves = torch.zeros(len(k), dim, dtype=torch.float64)
        waves[:, 0] = torch.tensor(k)
        found = StudentT(1.0, freedom).characteristic(waves)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    if freedom == 1:
        np.testing.assert_allclose(found, np.exp(-k), rtol=1e-12)
    near_normal = StudentT(1.0, 1e8).characteristic(waves)
    np.testing.assert_allclose(near_normal, np.exp(-0.5 * k**2), atol=1e-6)


def test_both_branches_of_students_wave_agree() -> None:
    k = torch.logspace(-3, 1, 60, dtype=torch.float64)[:, None]
    below, above = (StudentT(1.0, 100 + tiny).characteristic(k) for tiny in (0.0, 1e-9))
    torch.testing.assert_close(below, above, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("freedom", [0.8, 1.0, 3.0, 12.0])
def test_each_coordinate_of_students_t_is_students(freedom: float) -> None:
    drawn = StudentT(0.5, freedom).draw((20_000, 3), torch.Generator().manual_seed(3))
    for axis in range(3):
        test = stats.kstest(drawn[:, axis].numpy() / 0.5, stats.t(freedom).cdf)
        assert test.pvalue > 1e-4
    # One χ² for all: large coordinates come together, as the multivariate t has it.
    assert stats.kendalltau(*drawn.abs()[:2000, :2].T.numpy()).statistic > 0.5 / (freedom + 2)


def test_moments_of_students_t_that_do_not_exist_are_not_numbers() -> None:
    heavy = StudentT(1.0, 3.0)
    assert heavy.moment((2, 0)) == pytest.approx(3.0)
    assert heavy.moment((1, 1)) == 0.0
    assert heavy.moment((4, 0)) == heavy.moment((2, 2)) == math.inf
    assert math.isnan(heavy.moment((3, 0))) and math.isnan(heavy.moment((3, 1)))
    assert StudentT(0.0, 1.0).moment((4,)) == 0.0


@given(any_noise, st.integers(1, 40), st.floats(0.01, 100))
def test_scaling_scales(noise: Noise, dim: int, factor: float) -> None:
    scaled = noise.scaled(factor)
    assert scaled.bound(dim) == pytest.approx(factor * noise.bound(dim))
    assert noise.scaled(-factor) == scaled
    if math.isfinite(noise.second_moment(dim)):
        assert scaled.second_moment(dim) == pytest.approx(
            factor**2 * noise.second_moment(dim), rel=1e-9, abs=1e-250
        )
    k = torch.linspace(-1, 1, dim, dtype=torch.float64)
    torch.testing.assert_close(scaled.characteristic(k), noise.characteristic(factor * k))


@given(any_noise)
def test_the_text_is_read_back_as_the_same(noise: Noise) -> None:
    again = parse(noise.text)
    assert again == noise and hash(again) == hash(noise) and str(noise) == noise.text
    assert pickle.loads(pickle.dumps(noise)) == noise
    assert parse(noise) is noise


def test_texts_are_short() -> None:
    texts = ["uniform:25", "ball:1", "sphere:0.5", "gaussian:0.3", "student-t:0.3:3"]
    assert [parse(text).text for text in texts] == texts


@each
def test_nothing_is_drawn_of_size_zero(noise: Noise) -> None:
    drawn = noise.scaled(0).draw((4, 3), torch.Generator().manual_seed(0))
    assert torch.equal(drawn.abs(), torch.zeros(4, 3, dtype=torch.float64))
    assert noise.scaled(0).bound(3) == noise.scaled(0).second_moment(3) == 0


@each
def test_draws_follow_the_seed_and_fill_what_they_are_given(noise: Noise) -> None:
    first = noise.draw((5, 3), torch.Generator().manual_seed(4))
    room = torch.full((5, 3), math.nan, dtype=torch.float64)
    assert noise.draw_into(room, torch.Generator().manual_seed(4)) is room
    assert torch.equal(first, room)
    assert not torch.equal(first, noise.draw((5, 3), torch.Generator().manual_seed(5)))
    assert noise.draw((0, 3), torch.Generator()).shape == (0, 3)
    assert noise.draw((3,), torch.Generator()).shape == (3,)
    assert not noise.draw((2, 5, 3), torch.Generator(), dtype=torch.float32).isnan().any()


def test_coordinates_are_independent_where_they_are_said_to_be() -> None:
    assert Uniform(2.0).axis_moment(4) == pytest.approx(16 / 5)
    assert Gaussian(2.0).axis_moment(6) == pytest.approx(15 * 64)
    assert Gaussian(2.0).axis_moment(3) == 0
    for noise in (Ball(1.0), Sphere(1.0), StudentT(1.0, 9.0)):
        assert noise.axis_moment(2) is None


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(lambda orders: sum(orders) < 9),
)
def test_moments_do_not_depend_on_axes_that_are_not_named(orders: Sequence[int]) -> None:
    for noise in EACH:
        assert noise.moment(orders) == pytest.approx(noise.moment(orders[::-1]))
    gaussian = math.prod(stats.norm(scale=0.4).moment(n) for n in orders)
    assert Gaussian(0.4).moment(orders) == pytest.approx(gaussian, abs=1e-15)
    # A normal is a sphere of random radius: E‖z‖ⁿ times the sphere's moment.
    n, dim = sum(orders), len(orders)
    length = 2 ** (n / 2) * math.gamma((dim + n) / 2) / math.gamma(dim / 2) * 0.4**n
    assert length * radial.moment(orders) == pytest.approx(gaussian, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrom:3", "did you mean 'uniform'"),
        ("Gaussian:3", "did you mean 'gaussian'"),
        ("student:1:2", "did you mean 'student-t'"),
        ("qqq", "must be uniform:A, ball:A"),
        ("", "must be uniform:A, ball:A"),
        ("uniform", "of the form uniform:A"),
        ("uniform:-1:1", "of the form uniform:A"),
        ("uniform:x", "of the form uniform:A"),
        ("student-t:1", "of the form student-t:S:FREEDOM"),
        ("uniform:-1", "a of uniform noise must be a finite number of 0 or more, not -1.0"),
        ("gaussian:nan", "s of gaussian noise must be a finite number of 0 or more, not nan"),
        ("ball:inf", "a of ball noise must be a finite number of 0 or more, not inf"),
        ("student-t:1:0", "freedom of student-t noise must be a finite number above 0, not 0.0"),
        (3, "must be uniform:A, ball:A"),
        (None, "must be uniform:A, ball:A"),
    ],
    ids=str,
)
def test_what_is_no_noise_is_refused_in_one_sentence(text: object, message: str) -> None:
    with pytest.raises(UsageError, match=r"^omega ") as caught:
        parse(text, "omega")  # type: ignore[arg-type]
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "3", None, True, 1j], ids=str)
def test_numbers_that_no_distribution_has_are_refused(value: object) -> None:
    for kind in noises.KINDS.values():
        arguments = (value, 1.0) if kind is StudentT else (value,)
        with pytest.raises(UsageError, match="must be a finite number"):
            kind(*arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="shape must end with the number of coordinates"):
        Uniform(1.0).draw((), torch.Generator())
    assert Uniform(np.float32(2)) == Uniform(np.int64(2)) == Uniform(2)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["uniform:1e200", "gaussian:1e200", "ball:1e200", "sphere:1e200"])
def test_moments_beyond_a_double_are_infinite(text: str) -> None:
    noise = parse(text)
    assert noise.moment((2, 0)) == noise.second_moment(2) == math.inf
    assert noise.moment((1, 0)) == 0.0
