"""Noise: the distribution of what is added to a gradient, zero-mean and isotropic.

=================  =============================================  =========================
text               distribution of ω in d dimensions              E‖ω‖²
=================  =============================================  =========================
``uniform:A``      each coordinate uniform on [−A, A]             d A²/3
``ball:A``         uniform in the ball of radius A                A² d/(d + 2)
``sphere:A``       uniform on the sphere of radius A              A²
``gaussian:S``     each coordinate normal, standard deviation S   d S²
``student-t:S:F``  multivariate t of scale S, F degrees of        d S² F/(F − 2) for F > 2,
                   freedom                                        else infinite
=================  =============================================  =========================

In a :class:`thalweg.Plan` and on the command line it is the noise of the *gradient*; what smooths
the loss is the step's, ``noise.scaled(learning_rate)``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from difflib import get_close_matches
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective import radial

__all__ = ["Ball", "Gaussian", "Noise", "Sphere", "StudentT", "Uniform", "parse"]


@dataclass(frozen=True)
class Noise(ABC):
    """A zero-mean distribution in any number of dimensions; frozen and equal by value.

    Its numbers are finite and not negative (degrees of freedom: above 0); a size of 0 is no noise.
    ``symmetric`` says whether −ω has the same distribution.
    """

    kind: ClassVar[str]
    symmetric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            positive = name == "freedom"
            number = not isinstance(value, bool) and isinstance(value, Real)
            if not number or not 0 <= float(value) < math.inf or (positive and value == 0):
                rule = "above 0" if positive else "of 0 or more"
                raise UsageError(
                    f"{name} of {self.kind} noise must be a finite number {rule}, not {value!r}"
                )
            object.__setattr__(self, name, float(value))

    @property
    def text(self) -> str:
        """The text that :func:`parse` reads back as this very distribution."""
        return ":".join([self.kind, *(repr(v).removesuffix(".0") for v in astuple(self))])

    def __str__(self) -> str:
        return self.text

    def draw(
        self,
        shape: Sequence[int],
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Draws of shape ``(..., dim)``: the last dimension holds the coordinates, rows are independent."""
        if len(shape) == 0:
            raise UsageError("shape must end with the number of coordinates, but is empty")
        room = torch.empty(tuple(shape), dtype=dtype, device=generator.device)
        return self.draw_into(room, generator)

    @abstractmethod
    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """Fill a tensor of shape ``(..., dim)`` with independent rows and return it."""

    @abstractmethod
    def bound(self, dim: int) -> float:
        """The smallest r with ‖ω‖ ≤ r almost surely; infinite where there is none."""

    @abstractmethod
    def characteristic(self, k: Tensor) -> Tensor:
        """``E cos(k·ω)`` of shape ``(...)`` at wave vectors ``(..., dim)``."""

    @abstractmethod
    def moment(self, orders: Sequence[int]) -> float:
        """``E Π ωᵢ^nᵢ`` in ``len(orders)`` dimensions.

        Where the integral does not converge: infinite if all orders are even, else NaN.
        """

    @abstractmethod
    def scaled(self, factor: float) -> "Noise":
        """The distribution of ``factor · ω``."""

    def second_moment(self, dim: int) -> float:
        """``E‖ω‖²``; infinite where it does not exist."""
        return dim * self.variance(dim)

    def variance(self, dim: int) -> float:
        """Variance of one coordinate: the covariance is this times the identity."""
        return self.moment((2, *(0,) * (dim - 1)))

    def axis_moment(self, order: int) -> float | None:
        """``E ωᵢⁿ`` where the coordinates are independent, else ``None``."""
        return None


@dataclass(frozen=True)
class _Independent(Noise):
    """Independent coordinates: every mean of a product is a product of means."""

    def moment(self, orders: Sequence[int]) -> float:
        return math.prod(self.axis_moment(order) for order in orders)

    @abstractmethod
    def axis_moment(self, order: int) -> float: ...


@dataclass(frozen=True)
class Uniform(_Independent):
    """Each coordinate uniform on [−a, a]; ``E cos(k·ω) = Π sin(a kᵢ)/(a kᵢ)``, ``r = a √d``."""

    a: float
    kind = "uniform"

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        return tensor.uniform_(-self.a, self.a, generator=generator)

    def bound(self, dim: int) -> float:
        return self.a * math.sqrt(dim)

    def characteristic(self, k: Tensor) -> Tensor:
        return torch.sinc(k * (self.a / math.pi)).prod(-1)

    def scaled(self, factor: float) -> "Uniform":
        return Uniform(abs(factor) * self.a)

    def axis_moment(self, order: int) -> float:
        return 0.0 if order % 2 else radial.power(self.a, order) / (order + 1)


@dataclass(frozen=True)
class Gaussian(_Independent):
    """Each coordinate normal with standard deviation s; ``E cos(k·ω) = exp(−s²‖k‖²/2)``."""

    s: float
    kind = "gaussian"

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        return tensor.normal_(0.0, self.s, generator=generator)

    def bound(self, dim: int) -> float:
        return math.inf if self.s else 0.0

    def characteristic(self, k: Tensor) -> Tensor:
        return torch.exp(-0.5 * ((self.s * k) ** 2).sum(-1))

    def scaled(self, factor: float) -> "Gaussian":
        return Gaussian(abs(factor) * self.s)

    def axis_moment(self, order: int) -> float:
        return 0.0 if order % 2 else radial.power(self.s, order) * math.prod(range(1, order, 2))


@dataclass(frozen=True)
class Sphere(Noise):
    """Uniform on the sphere ‖ω‖ = a; in one dimension ±a."""

    a: float
    kind = "sphere"

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        return _directions_into(tensor, generator).mul_(self.a)

    def bound(self, dim: int) -> float:
        return self.a

    def characteristic(self, k: Tensor) -> Tensor:
        return _like(k, radial.sphere_wave(self.a * _lengths(k), k.shape[-1]))

    def moment(self, orders: Sequence[int]) -> float:
        return radial.power(self.a, sum(orders)) * radial.moment(orders)

    def scaled(self, factor: float) -> "Sphere":
        return Sphere(abs(factor) * self.a)


@dataclass(frozen=True)
class Ball(Noise):
    """Uniform in the ball ‖ω‖ ≤ a; in one dimension uniform on [−a, a]."""

    a: float
    kind = "ball"

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        if tensor.shape[-1] == 1:
            return tensor.uniform_(-self.a, self.a, generator=generator)
        _directions_into(tensor, generator)
        radii = tensor.new_empty(tensor.shape[:-1]).uniform_(generator=generator)
        return tensor.mul_(radii.pow_(1 / tensor.shape[-1]).mul_(self.a).unsqueeze(-1))

    def bound(self, dim: int) -> float:
        return self.a

    def characteristic(self, k: Tensor) -> Tensor:
        return _like(k, radial.sphere_wave(self.a * _lengths(k), k.shape[-1] + 2))

    def moment(self, orders: Sequence[int]) -> float:
        dim, order = len(orders), sum(orders)
        return radial.power(self.a, order) * dim / (dim + order) * radial.moment(orders)

    def scaled(self, factor: float) -> "Ball":
        return Ball(abs(factor) * self.a)


@dataclass(frozen=True)
class StudentT(Noise):
    """Multivariate Student t: ``s z / √(χ²/freedom)``, z standard normal, one χ² for all coordinates.

    The heavy tails strike all coordinates at once and the distribution is isotropic; each
    coordinate alone is Student's t of that scale (Kotz and Nadarajah, *Multivariate t
    Distributions*, chapters 1 and 2). Moments of order ``freedom`` and above do not exist;
    ``freedom=1`` is Cauchy's.
    """

    s: float
    freedom: float
    kind = "student-t"

    def draw_into(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        tensor.normal_(0.0, self.s, generator=generator)
        halves = tensor.new_full(tensor.shape[:-1], self.freedom / 2, dtype=torch.float64)
        stretch = torch._standard_gamma(halves, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
        stretch = stretch.mul_(2 / self.freedom).rsqrt_().unsqueeze(-1)
        return tensor.mul_(stretch.to(tensor.dtype))

    def bound(self, dim: int) -> float:
        return math.inf if self.s else 0.0

    def characteristic(self, k: Tensor) -> Tensor:
        """``z^μ K_μ(z) / (2^(μ−1) Γ(μ))`` with ``μ = freedom/2``, ``z = √freedom s ‖k‖``."""
        return _like(
            k, radial.student_wave(math.sqrt(self.freedom) * self.s * _lengths(k), self.freedom)
        )

    def moment(self, orders: Sequence[int]) -> float:
        order, dim = sum(orders), len(orders)
        if order == 0 or self.s == 0:
            return 0.0 if order else 1.0
        if order >= self.freedom:
            return math.nan if any(n % 2 for n in orders) else math.inf
        mu = self.freedom / 2
        of_normal = math.lgamma((dim + order) / 2) - math.lgamma(dim / 2)  # E (‖z‖²/2)^(n/2)
        of_chi = math.lgamma(mu - order / 2) - math.lgamma(mu)  # E (2/χ²)^(n/2)
        length = radial.power(self.s * math.sqrt(self.freedom), order)
        return math.exp(of_normal + of_chi) * length * radial.moment(orders)

    def scaled(self, factor: float) -> "StudentT":
        return StudentT(abs(factor) * self.s, self.freedom)


KINDS: dict[str, type[Noise]] = {
    kind.kind: kind for kind in (Uniform, Ball, Sphere, Gaussian, StudentT)
}
"""The distributions by the first word of their text."""


def parse(text: "str | Noise", argument: str = "noise") -> Noise:
    """The distribution of a text such as ``uniform:25``; a Noise is returned as it is.

    Raises:
        UsageError: names ``argument``, for a text that is none, with a suggestion.
    """
    if isinstance(text, Noise):
        return text
    forms = "uniform:A, ball:A, sphere:A, gaussian:S or student-t:S:FREEDOM"
    if not isinstance(text, str):
        raise UsageError(f"{argument} must be {forms}, not {text!r}")
    name, *rest = text.strip().split(":")
    if name not in KINDS:
        near = get_close_matches(name.lower(), KINDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{argument} must be {forms}, not {text!r}{hint}")
    kind = KINDS[name]
    try:
        numbers = [float(number) for number in rest]
    except ValueError:
        numbers = []
    if len(numbers) != len(fields(kind)):
        form = next(form for form in forms.replace(" or ", ", ").split(", ") if name in form)
        raise UsageError(f"{argument} must be of the form {form}, not {text!r}")
    try:
        return kind(*numbers)
    except UsageError as error:
        raise UsageError(f"{argument} {text!r} cannot be: {error}") from None


def _directions_into(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Rows uniform on the unit sphere."""
    tensor.normal_(generator=generator)
    lengths = torch.linalg.vector_norm(tensor, dim=-1, keepdim=True)
    nowhere = lengths == 0  # in single precision once in some ten million draws
    tensor[..., :1].masked_fill_(nowhere, 1.0)
    return tensor.div_(lengths.masked_fill_(nowhere, 1.0))


def _lengths(k: Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(k.detach().double(), dim=-1).cpu().numpy()


def _like(k: Tensor, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=k.dtype, device=k.device)
