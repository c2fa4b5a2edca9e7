"""Watch a training of Lightning's Trainer.

from thalweg.record.adapters.lightning import WatchCallback
trainer = lightning.pytorch.Trainer(callbacks=[WatchCallback("runs/mine")])
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from thalweg.errors import UsageError
from thalweg.record.adapters.hosted import Hosted
from thalweg.record.recorder import Recorder

__all__ = ["WatchCallback"]


class WatchCallback(Callback):
    """Records every batch that Lightning trains on, with the loss that ``training_step`` returned.

    Lightning divides the loss by ``accumulate_grad_batches`` before it shows it; here it is as it
    was. A step is a batch, also where several make an update.

    Args:
        folder: as for :func:`~thalweg.record.watch.watch`.
        optimizer: which of the module's optimizers is watched.
        kwargs: other arguments of :func:`~thalweg.record.watch.watch`.

    Raises:
        UsageError: an argument that the trainer answers.
    """

    def __init__(
        self, folder: Path | str | None = None, *, optimizer: int = 0, **kwargs: Any
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._hosted = Hosted(folder, kwargs)

    @property
    def recorder(self) -> Recorder | None:
        """That of the training which goes on or was the last."""
        return self._hosted.recorder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule, **kwargs: Any) -> None:
        """Begin to watch."""
        optimizers = trainer.optimizers
        if not 0 <= self._optimizer < len(optimizers):
            raise UsageError(
                f"optimizer must be the number of one of {len(optimizers)}, not {self._optimizer}"
            )
        chosen = optimizers[self._optimizer]
        schedulers = [
            config.scheduler
            for config in trainer.lr_scheduler_configs
            if getattr(config.scheduler, "optimizer", None) is chosen
        ]
        scheduler = schedulers[0] if schedulers else None
        self._hosted.begin(pl_module, chosen, trainer.train_dataloader, scheduler)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        **kwargs: Any,
    ) -> None:
        """Record the batch, unless its step was skipped."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self.recorder is None or not isinstance(loss, torch.Tensor):
            return
        parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        self.recorder.step(loss.detach() * parts if parts != 1 else loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule, **kwargs: Any) -> None:
        """Close."""
        self._hosted.end()

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        exception: BaseException,
        **kwargs: Any,
    ) -> None:
        """Close without a checkpoint: the exception may have struck in mid-step."""
        self._hosted.end(at_a_step=False)
