"""The global random states that code draws from, to be kept, set by a seed, and put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["RandomState", "random_state", "seed_all"]


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
        with random_state(seed):
            return cls.now()

    def restore(self) -> None:
        """Make these the global states."""
        _set_torch(self.torch, self.cuda)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)

    def drew_elsewhere(self, before: "RandomState") -> bool:
        """Whether NumPy's or Python's state has moved since ``before``."""
        moved = self.numpy[2] != before.numpy[2] or (self.numpy[1] != before.numpy[1]).any()
        return bool(moved) or self.python != before.python


@contextmanager
def random_state(seed: int | None, *, torch_alone: bool = False) -> Iterator[None]:
    """Within the block the global random states are those of ``seed``; None changes nothing.

    ``torch_alone`` leaves NumPy's and Python's as they are, which saves a quarter of a millisecond.
    """
    if seed is None:
        yield
        return
    cpu = torch.random.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    others = None if torch_alone else (np.random.get_state(), random.getstate())  # noqa: NPY002
    seed_all(seed, torch_alone=torch_alone)
    try:
        yield
    finally:
        _set_torch(cpu, cuda)
        if others:
            np.random.set_state(others[0])  # noqa: NPY002
            random.setstate(others[1])


def seed_all(seed: int, *, torch_alone: bool = False) -> None:
    """Seed the global random states."""
    # torch.manual_seed looks for every kind of device, which takes longer than a small gradient.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if not torch_alone:
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)


def _set_torch(cpu: Tensor, cuda: tuple[Tensor, ...] | list[Tensor]) -> None:
    torch.random.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(list(cuda))
