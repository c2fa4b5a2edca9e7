"""Lightning's own Trainer, watched: the losses are those of training_step, the weights the same bits."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg.errors import UsageError
from thalweg.record.folder import RunFolder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    L = pytest.importorskip("lightning.pytorch")
    from thalweg.record.adapters.lightning import WatchCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the trainer itself

X = torch.linspace(-1, 1, 120).reshape(40, 3)
Y = X.prod(1, keepdim=True)


class Regression(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.seen: list[float] = []

    def training_step(self, batch: Any, _: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.seen.append(float(loss.detach()))
        if len(self.seen) == 7:
            self.fail()
        return loss

    def fail(self) -> None:
        pass

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def trained(*callbacks: Any, accumulate: int = 1, module: Any = None) -> Any:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = module or Regression()
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(3)
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=8))
    return module


@pytest.mark.parametrize("accumulate", [1, 5])
def test_a_trainer_is_watched_to_the_bit(tmp_path: Path, accumulate: int) -> None:
    plain = trained(accumulate=accumulate)
    watched = trained(WatchCallback(tmp_path / "run", overhead=np.inf), accumulate=accumulate)
    for one, two in zip(plain.parameters(), watched.parameters()):
        assert torch.equal(one, two)
    run = RunFolder.open(tmp_path / "run")
    seen = run.metrics()
    np.testing.assert_allclose(seen["loss"].values, watched.seen, rtol=1e-6)
    np.testing.assert_array_equal(seen["learning_rate"].values, [0.1] * 5 + [0.05] * 5)
    assert seen["gradient_norm"].steps.tolist() == list(range(accumulate, 11, accumulate))
    assert not seen["gradients_accumulate"].values.any()
    assert run.facts["model"] == "Regression" and run.facts["steps_an_epoch"] == 5
    assert run.latest_checkpoint() == 10
    run.load_checkpoint(10, Regression())


def test_an_exception_leaves_the_last_exact_checkpoint(tmp_path: Path) -> None:
    class Failing(Regression):
        def fail(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(WatchCallback(tmp_path / "run", overhead=np.inf), module=Failing())
    run = RunFolder.open(tmp_path / "run")
    assert run.latest_checkpoint() == 4 and run.metrics()["loss"].steps.tolist() == [*range(1, 7)]


def test_wrong_use_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="scheduler must be left to the trainer"):
        WatchCallback(scheduler=None)
    with pytest.raises(UsageError, match="number of one of 1, not 2"):
        trained(WatchCallback(optimizer=2))
