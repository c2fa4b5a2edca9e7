"""Losses of a few variables that are means over examples, so that mini-batches exist."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.objective.formula import Formula
from thalweg.objective.landscape import CriticalPoint, Landscape
from thalweg.objective.landscapes.arguments import number, positive, whole
from thalweg.objective.landscapes.known import kind_of, lowest_of, written
from thalweg.objective.landscapes.spikes import cosine_bowl

__all__ = ["FiniteSum", "finite_sum", "least_squares"]

WRITTEN = 20
"""Variables up to which a sum of squares is written as a formula."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteSum(Landscape):
    """A landscape that is the mean of the losses of ``examples`` examples.

    Attributes:
        each: losses ``(..., b)`` of points ``(..., dim)`` on the examples of indices ``(b,)`` or
            ``(..., b)``.
        examples: how many there are.
        example: the landscape of one example, by its index.
    """

    each: Callable[[Tensor, Tensor], Tensor]
    examples: int  # pyright: ignore[reportIncompatibleVariableOverride]
    example: Callable[[int], Landscape]

    def losses(self, points: Tensor) -> Tensor:
        """The loss of every example, ``(..., examples)``, at points ``(..., dim)``."""
        self.check_points(points)
        return self.each(points, torch.arange(self.examples, device=points.device))

    def on(self, indices: Sequence[int] | Tensor) -> Landscape:
        """The mean loss over a mini-batch.

        Args:
            indices: which examples: ``(batch,)`` for all points alike, or ``(..., batch)`` with the
                leading dimensions of the points, a mini-batch for each.

        Raises:
            UsageError: no index, or one outside 0 … examples − 1.
        """
        which = torch.as_tensor(indices)
        if which.ndim == 0 or which.numel() == 0 or which.is_floating_point():
            raise UsageError(f"indices must be whole numbers, at least one, not {indices!r}")
        if which.min() < 0 or which.max() >= self.examples:
            raise UsageError(
                f"indices must be from 0 to {self.examples - 1}, not "
                f"{int(which.min())} to {int(which.max())}"
            )
        return Landscape(
            partial(_batch, self.each, which),
            self.dim,
            name=f"{self.name} on {which.shape[-1]} of {self.examples} examples",
            domain=self.domain,
        )


def finite_sum(
    examples: int = 8,
    spread: float = 1.0,
    amplitude: float = 0.3,
    frequency: float = 20.0,
    domain: float = 3.0,
) -> FiniteSum:
    """The mean of ``½(x − aᵢ)² + A cos(k(x − aᵢ))``: no example's minima are those of the mean.

    The centres aᵢ are spread evenly over ±s, so that the mean is ½x² + ½ā² + A C cos kx with ā² the
    mean square of the centres and C the mean of cos kaᵢ: a spiky bowl with spikes smaller by C.
    """
    examples = whole("examples", examples, 2, 10_000)
    spread, frequency = positive("spread", spread), positive("frequency", frequency)
    amplitude, domain = number("amplitude", amplitude), positive("domain", domain)
    if frequency * (domain + spread) > 100_000:
        raise UsageError(f"frequency must be at most 100000/(domain + spread), not {frequency:g}")
    centres = torch.linspace(-spread, spread, examples, dtype=torch.float64)
    left = amplitude * float(torch.cos(frequency * centres).mean())
    constant = float(centres.square().mean()) / 2
    text = f"0.5*x**2 + {written(left)}*cos({written(frequency)}*x) + {written(constant)}"
    each = partial(_spiky_examples, tuple(centres.tolist()), amplitude, frequency)
    critical = cosine_bowl(1.0, left, frequency, domain)
    return FiniteSum(
        Formula.parse(text),
        1,
        name="finite sum",
        formula=text,
        critical=critical,
        smoothness=1 + abs(left) * frequency**2,
        domain=((-domain, domain),),
        infimum=lowest_of(text, critical) if frequency * domain > math.pi else None,
        each=each,
        examples=examples,
        example=partial(_spiky_example, tuple(centres.tolist()), amplitude, frequency, domain),
    )


def least_squares(examples: int = 20, dim: int = 2, noise: float = 0.5, seed: int = 0) -> FiniteSum:
    """The mean of ``½(aᵢ·x − bᵢ)²``, convex: aᵢ standard normal, bᵢ = Σ aᵢ plus noise.

    L and the strong convexity are the largest and the smallest eigenvalue of AᵀA/n.
    """
    dim = whole("dim", dim, 1, 1_000)
    examples, seed = whole("examples", examples, dim, 100_000), whole("seed", seed, 0, 2**31)
    noise = number("noise", noise)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, dim, generator=generator, dtype=torch.float64)
    drawn = torch.randn(examples, generator=generator, dtype=torch.float64)
    targets = inputs.sum(-1) + noise * drawn
    hessian = inputs.T @ inputs / examples
    curvatures = tuple(torch.linalg.eigvalsh(hessian).tolist())
    solution = torch.linalg.lstsq(inputs, targets[:, None]).solution[:, 0]
    least = float(0.5 * (inputs @ solution - targets).square().mean())
    return FiniteSum(
        partial(_mean_square, inputs, targets),
        dim,
        name="least squares",
        formula=_expanded(hessian, inputs.T @ targets / examples, targets)
        if dim <= WRITTEN
        else "",
        critical=(CriticalPoint(tuple(solution.tolist()), kind_of(curvatures), curvatures),),
        smoothness=curvatures[-1],
        domain=((-3.0, 3.0),) * dim,
        infimum=least,
        each=partial(_squares, inputs, targets),
        examples=examples,
        example=partial(_one_square, inputs, targets),
    )


def _expanded(hessian: Tensor, slope: Tensor, targets: Tensor) -> str:
    """``½ xᵀHx − gᵀx + ½ mean b²`` as text."""
    dim = len(slope)
    terms = [written(0.5 * float(targets.square().mean()))]
    for i in range(dim):
        terms.append(f"{written(-float(slope[i]))}*x{i}")
        for j in range(i, dim):
            factor = float(hessian[i, j]) * (0.5 if i == j else 1.0)
            terms.append(f"{written(factor)}*x{i}*x{j}")
    return " + ".join(terms)


# Module-level functions, so that a landscape can be pickled and sent to another process.


def _batch(each: Callable[[Tensor, Tensor], Tensor], indices: Tensor, points: Tensor) -> Tensor:
    return each(points, indices.to(points.device)).mean(-1)


def _spiky_examples(
    centres: tuple[float, ...],
    amplitude: float,
    frequency: float,
    points: Tensor,
    indices: Tensor,
) -> Tensor:
    away = points - points.new_tensor(centres)[indices]
    return 0.5 * away.square() + amplitude * torch.cos(frequency * away)


def _spiky_example(
    centres: tuple[float, ...], amplitude: float, frequency: float, domain: float, index: int
) -> Landscape:
    centre = centres[whole("index", index, 0, len(centres) - 1)]
    away = f"(x - {written(centre)})"
    text = f"0.5*{away}**2 + {written(amplitude)}*cos({written(frequency)}*{away})"
    known = cosine_bowl(1.0, amplitude, frequency, domain + abs(centre))
    shifted = [CriticalPoint((k.point[0] + centre,), k.kind, k.curvatures) for k in known]
    return Landscape(
        Formula.parse(text),
        1,
        name=f"example {index} of the finite sum",
        formula=text,
        critical=tuple(k for k in shifted if abs(k.point[0]) <= domain),
        smoothness=1 + abs(amplitude) * frequency**2,
        domain=((-domain, domain),),
    )


def _squares(inputs: Tensor, targets: Tensor, points: Tensor, indices: Tensor) -> Tensor:
    rows, wanted = inputs.to(points)[indices], targets.to(points)[indices]
    return 0.5 * ((rows * points[..., None, :]).sum(-1) - wanted).square()


def _mean_square(inputs: Tensor, targets: Tensor, points: Tensor) -> Tensor:
    return 0.5 * (points @ inputs.to(points).T - targets.to(points)).square().mean(-1)


def _one_square(inputs: Tensor, targets: Tensor, index: int) -> Landscape:
    index = whole("index", index, 0, len(targets) - 1)
    row, target = inputs[index], float(targets[index])
    terms = " + ".join(f"{written(float(value))}*x{i}" for i, value in enumerate(row))
    return Landscape(
        partial(_mean_square, inputs[index : index + 1], targets[index : index + 1]),
        len(row),
        name=f"example {index} of the least squares",
        formula=f"0.5*({terms} - {written(target)})**2" if len(row) <= WRITTEN else "",
        smoothness=float(row.square().sum()),
        domain=((-3.0, 3.0),) * len(row),
        infimum=0.0,
    )
