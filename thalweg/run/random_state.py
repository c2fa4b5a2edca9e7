"""The global random states that a training draws from, to be kept and put back."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["RandomState"]


@dataclass(frozen=True)
class RandomState:
    """The global random states that a training draws from: torch, CUDA, NumPy, Python."""

    torch: Tensor
    cuda: tuple[Tensor, ...]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> "RandomState":
        """The states as they are."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = np.random.get_state()  # noqa: NPY002  the user's code may draw from it
        return cls(torch.random.get_rng_state(), tuple(cuda), numpy, random.getstate())

    @classmethod
    def of_seed(cls, seed: int) -> "RandomState":
        """The states that a seed gives."""
        before = cls.now()
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            return cls.now()
        finally:
            before.restore()

    def restore(self) -> None:
        """Make these the global states."""
        torch.random.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)
