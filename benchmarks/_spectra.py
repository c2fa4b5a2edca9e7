"""What the benchmarks of spectra share: the digits network at its stages, seeds, and how a row is told."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._results import digits, network, train

__all__ = ["LOSS", "STAGES", "Data", "Row", "at_stage", "say", "seeded"]

STAGES = {"start": 0, "trained": 2000}

LOSS = nn.functional.cross_entropy
Data = tuple[Tensor, Tensor]
Row = dict[str, Any]


def at_stage(stage: str, model: nn.Module | None = None) -> nn.Module:
    """The digits network there, as in the benchmark of eigenvalues."""
    model = model or network()
    torch.manual_seed(1)
    train(model, digits(), STAGES[stage])
    return model


def seeded(seed: int) -> torch.Generator:
    """A generator of ours."""
    return torch.Generator().manual_seed(seed)


def say(row: Row) -> None:
    """As it comes."""
    print(json.dumps(row), flush=True)
