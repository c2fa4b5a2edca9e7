"""The trace of a symmetric operator from random signs."""

import torch
from torch import Tensor

from thalweg.estimate import Estimate
from thalweg.measure.rises import mean_and_error
from thalweg.objective.derivatives import SymmetricOperator

__all__ = ["hutchinson_trace"]


def hutchinson_trace(
    operator: SymmetricOperator, like: Tensor, *, probes: int = 16, seed: int = 0
) -> Estimate:
    """tr A as the mean of vᵀAv over vectors v of random signs; unbiased.

    Source: Hutchinson, A stochastic estimator of the trace of the influence matrix, 1990.
    """
    generator = torch.Generator().manual_seed(seed)
    before = operator.cost
    values = []
    for _ in range(probes):
        v = torch.randint(0, 2, (operator.dim,), generator=generator).double() * 2 - 1
        values.append((v * (operator @ v.to(like)).double().cpu()).sum())
    value, error = mean_and_error(torch.stack(values))
    return Estimate(value, error, "loss per unit²", operator.cost - before)
