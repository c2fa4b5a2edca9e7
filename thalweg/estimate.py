"""A measured number: its value, its standard error, its unit and what it cost."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["LOSS_COST", "PRODUCT_COST", "Curve", "Estimate", "Evidence"]

LOSS_COST = 1 / 3
"""Cost of a forward pass in gradient evaluations: a backward pass costs two forward passes."""

PRODUCT_COST = 2.0
"""Cost of a Hessian-vector product in gradient evaluations, by operation count.

The clock says 1.5 where the graph is kept between products and 2.4 where it is rebuilt.
"""


@dataclass(frozen=True)
class Estimate:
    """A number that was measured.

    ``error`` is one standard error (for an eigenvalue: its residual bound), in the unit of the
    value; 0 says that the number is exact for the examples that were used. ``cost`` is what the
    number added to the bill, in gradient evaluations over the training data. A value that is not
    finite stays so.
    """

    value: float
    error: float = 0.0
    unit: str = "1"
    cost: float = 0.0

    def __float__(self) -> float:
        return self.value

    def __neg__(self) -> "Estimate":
        return Estimate(-self.value, self.error, self.unit, self.cost)

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        if not math.isfinite(self.value) or self.error == 0:
            return f"{self.value:.4g}{unit}"
        if not math.isfinite(self.error):
            return f"{self.value:.4g} ± unknown{unit}"
        return f"{self.value:.3g} ± {self.error:.1g}{unit}"

    def confidence_above(self, threshold: float) -> float:
        """Probability that the true value exceeds ``threshold``, the error taken as Gaussian.

        0.5 for a value or an error that is not a number: nothing is known.
        """
        if math.isnan(self.value) or math.isnan(self.error):
            return 0.5
        if self.error == 0 or math.isinf(self.value):
            return 1.0 if self.value > threshold else 0.0 if self.value < threshold else 0.5
        if math.isinf(self.error):
            return 0.5
        return 0.5 * math.erfc((threshold - self.value) / (self.error * math.sqrt(2)))


@dataclass(frozen=True)
class Curve:
    """A measured line for a picture: ``y`` over ``x``, with the names of both axes."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    x_name: str
    y_name: str


@dataclass(frozen=True)
class Evidence(Mapping[str, Estimate]):
    """The named Estimates about one point or run, and the curves that show them.

    Read a number that may not have been measured with :meth:`value`, which answers NaN then: every
    comparison with NaN is false, so a rule never fires on what nobody measured.
    """

    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def value(self, name: str) -> float:
        """The value of that name, or NaN where it was not measured."""
        found = self.estimates.get(name)
        return math.nan if found is None else found.value

    def measured(self, name: str) -> Estimate:
        """The Estimate of that name, or NaN with unknown error where it was not measured."""
        return self.estimates.get(name, Estimate(math.nan, math.nan))

    @property
    def cost(self) -> float:
        """What all of it cost, in gradient evaluations over the training data."""
        return sum(estimate.cost for estimate in self.estimates.values())
