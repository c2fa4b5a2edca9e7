"""The recorder's numbers in TensorBoard and Weights & Biases, for who has them.

from thalweg.record.adapters.loggers import tensorboard, wandb
recorder = tw.watch(model, optimizer, loggers=[tensorboard("logs"), wandb()])
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.record.forwarding import Logger

__all__ = ["tensorboard", "wandb"]


def tensorboard(writer: Any, prefix: str = "thalweg/", **options: Any) -> Logger:
    """Scalars for TensorBoard.

    Args:
        writer: a ``SummaryWriter``, or the folder of one to be made.
        prefix: of every name.
        options: for the writer that is made.

    Raises:
        UsageError: TensorBoard is needed and not installed.
    """
    if isinstance(writer, str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "a folder of TensorBoard needs it installed: pip install tensorboard"
            ) from error
        writer = SummaryWriter(str(writer), **options)

    def log(step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            writer.add_scalar(prefix + name, value, step)

    return log


def wandb(run: Any = None, prefix: str = "thalweg/", **options: Any) -> Logger:
    """Scalars for Weights & Biases, with the step as a number of its own.

    W&B drops what comes with a step below its own counter, so none is imposed on it:
    ``thalweg/step`` is the axis to choose.

    Args:
        run: what ``wandb.init`` returned; the active run, or one to be made, unless given.
        prefix: of every name.
        options: for ``wandb.init``.

    Raises:
        UsageError: W&B is needed and not installed.
    """
    if run is None:
        try:
            import wandb as library  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UsageError("a run of W&B needs it installed: pip install wandb") from error
        run = library.run or library.init(**options)

    def log(step: int, numbers: Mapping[str, float]) -> None:
        named = {prefix + name: value for name, value in numbers.items()}
        run.log({f"{prefix}step": step, **named})

    return log
