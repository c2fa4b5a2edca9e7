"""What was seen, passed on to loggers that the user has."""

import warnings
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Forwarding", "Logger"]

Logger = Callable[[int, Mapping[str, float]], None]
"""Takes a step and what was seen there, by name; steps never decrease."""


class Forwarding:
    """Passes on the steps that were looked at, and the last of each block.

    A logger that fails is warned of and told no more; the training goes on.
    """

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._loggers = list(loggers)

    def tell(
        self,
        first: int,
        losses: Sequence[float],
        rates: Sequence[float],
        looks: Sequence[tuple[int, Mapping[str, float]]],
    ) -> None:
        """Tell of a block of steps from ``first`` on, and of the looks in it."""
        if not self._loggers:
            return
        rows = {step: dict(numbers) for step, numbers in looks}
        if losses:
            rows.setdefault(first + len(losses) - 1, {})
        for step in sorted(rows):
            at = step - first
            if 0 <= at < len(losses):
                rows[step] |= {"loss": losses[at], "learning_rate": rates[at]}
            for logger in tuple(self._loggers):
                self._tell(logger, step, rows[step])

    def _tell(self, logger: Logger, step: int, numbers: Mapping[str, float]) -> None:
        try:
            logger(step, numbers)
        except Exception as error:
            self._loggers.remove(logger)
            name = getattr(logger, "__qualname__", type(logger).__name__)
            warnings.warn(
                f"logger {name} failed and is told no more: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
