"""The gradient's signal from the micro-batches that a training accumulates anyway."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["MicroBatches"]


class MicroBatches:
    """Follows the gradient of one update while it is added up from m backward passes.

    With h the mean gradient of a micro-batch and s the trace of its covariance, the sum S_j of the
    first j has E‖S_j‖² = j²‖h‖² + j·s. The first and the last tell the whole gradient's
    ‖E S_m‖² = (‖S_m‖² − m‖S_1‖²)·m/(m − 1), without bias where micro-batches are independent.
    """

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self._passes: list[list[Tensor]] = []

    def watch(self, parameters: Sequence[Tensor]) -> None:
        """Follow these from here on, right after an update, to the next."""
        self.stop()
        self._passes = [[] for parameter in parameters if parameter.requires_grad]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter, passes in zip(trained, self._passes):
            register: Callable[..., Any] = parameter.register_post_accumulate_grad_hook

            def seen(p: Tensor, passes: list[Tensor] = passes) -> None:
                # The first and the last are told from; what is between is only counted.
                assert p.grad is not None
                passes.append(torch.linalg.vector_norm(p.grad.detach()))

            self._hooks.append(register(seen))

    def share(self) -> tuple[int, Tensor] | None:
        """m, and ‖E S_m‖²/‖S_m‖²; ``None`` where there were not several whole passes."""
        passes = [each for each in self._passes if each]
        counts = {len(each) for each in passes}
        self.stop()
        if len(counts) != 1 or counts == {1}:
            return None
        (m,) = counts
        first, last = (torch.stack([each[at] for each in passes]).square().sum() for at in (0, -1))
        return m, (1 - m * first / last) * m / (m - 1)

    def stop(self) -> None:
        """Take the hooks away and forget."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._passes = [], []
