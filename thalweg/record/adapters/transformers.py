"""Watch a training of Transformers' Trainer.

from thalweg.record.adapters.transformers import WatchCallback
trainer = transformers.Trainer(..., callbacks=[WatchCallback("runs/mine")])
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from thalweg.record.adapters.hosted import Hosted
from thalweg.record.recorder import Recorder

__all__ = ["WatchCallback"]


class WatchCallback(TrainerCallback):
    """Records every update of the Trainer, with the loss that the model returned.

    The Trainer tells callbacks no loss but an average now and then, from which losses that are not
    finite are left out (``logging_nan_inf_filter``, which is warned of). So the loss is read from
    the model's own output; where that has none, from the averages.

    Args:
        folder: as for :func:`~thalweg.record.watch.watch`.
        kwargs: its other arguments.

    Raises:
        UsageError: an argument that the trainer answers.
    """

    def __init__(self, folder: Path | str | None = None, **kwargs: Any) -> None:
        self._hosted = Hosted(folder, kwargs)
        self._losses: list[Tensor] = []
        self._whole = self._warned = False
        self._hook: Any = None

    @property
    def recorder(self) -> Recorder | None:
        """That of the training which goes on or was the last."""
        return self._hosted.recorder

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch, and say what the Trainer's own log hides."""
        if getattr(args, "logging_nan_inf_filter", False):
            warnings.warn(
                "the Trainer's log leaves out losses that are not finite (logging_nan_inf_filter); "
                "thalweg records them as they are",
                RuntimeWarning,
                stacklevel=2,
            )
        model = kwargs["model"]
        self._hosted.begin(
            model,
            kwargs["optimizer"],
            kwargs.get("train_dataloader"),
            kwargs.get("lr_scheduler"),
        )
        self._losses = []
        self._hook = model.register_forward_hook(self._seen, with_kwargs=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the update: the mean over its micro-batches, or their sum where each is a part."""
        losses, self._losses = self._losses, []
        if self.recorder is None:
            return
        if not losses:
            if self.recorder.steps == 0 and not self._warned:
                self._warned = True
                warnings.warn(
                    "the model's output has no loss: nothing is recorded unless compute_loss "
                    "passes it to the callback's see(loss)",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return
        total = losses[0] if len(losses) == 1 else sum(losses[1:], losses[0])
        self.recorder.step(total if self._whole else total / len(losses))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close."""
        if self._hook is not None:
            self._hook.remove()
        self._hosted.end()

    def see(self, loss: Tensor) -> None:
        """Take the loss of a micro-batch."""
        self._losses.append(loss.detach().reshape(()))

    def _seen(self, model: nn.Module, inputs: Any, options: Mapping[str, Any], output: Any) -> None:
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if model.training and isinstance(loss, Tensor) and loss.numel() == 1:
            # Models that know the count of all the update's tokens return their part of its loss.
            self._whole = options.get("num_items_in_batch") is not None
            self.see(loss)
