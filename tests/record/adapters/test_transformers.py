"""Transformers' own Trainer, watched: the losses are the model's, also those its log leaves out."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.record.folder import RunFolder

os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from thalweg.record.adapters.transformers import WatchCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the trainer itself


class Tiny(nn.Module):
    def __init__(self, spoiled: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.seen: list[float] = []
        self.spoiled = spoiled

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        output = self.net(x)
        loss = nn.functional.mse_loss(output, labels)
        if len(self.seen) == self.spoiled:
            loss = loss * math.nan
        self.seen.append(float(loss.detach()))
        return {"loss": loss, "logits": output}


class Parts(Tiny):
    """Its loss is a part of the update's, as a language model's is."""

    def forward(  # type: ignore[override]
        self, x: Tensor, labels: Tensor, num_items_in_batch: Any = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        output = self.net(x)
        loss = (output - labels).square().sum() / num_items_in_batch
        self.seen.append(float(loss.detach()))
        return {"loss": loss, "logits": output}


class Silent(Tiny):
    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        output = super().forward(x, labels)
        return output["loss"], output["logits"]


def trained(folder: Path, model: Any, *callbacks: Any, accumulate: int = 1) -> Any:
    x = torch.linspace(-1, 1, 120).reshape(40, 3)
    data = [{"x": row, "labels": row.prod().reshape(1)} for row in x]
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulate,
            num_train_epochs=2,
            learning_rate=0.01,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        ),
        train_dataset=data,
        callbacks=list(callbacks),
    )
    trainer.train()
    return model


@pytest.mark.parametrize(("kind", "accumulate"), [(Tiny, 1), (Tiny, 2), (Parts, 2)])
def test_a_trainer_is_watched_to_the_bit(tmp_path: Path, kind: Any, accumulate: int) -> None:
    plain = trained(tmp_path / "out", kind(), accumulate=accumulate)
    callback = WatchCallback(tmp_path / "run", overhead=np.inf)
    with pytest.warns(RuntimeWarning, match="logging_nan_inf_filter"):
        watched = trained(tmp_path / "out", kind(), callback, accumulate=accumulate)
    for one, two in zip(plain.parameters(), watched.parameters()):
        assert torch.equal(one, two)
    losses = np.array(watched.seen).reshape(-1, accumulate)
    expected = losses.sum(1) if kind is Parts else losses.mean(1)
    run = RunFolder.open(tmp_path / "run")
    seen = run.metrics()
    np.testing.assert_allclose(seen["loss"].values, expected, rtol=1e-5)
    assert seen["gradient_norm"].steps.tolist() == list(range(1, 20 // accumulate + 1))
    assert seen["learning_rate"].values[0] == 0.01 > seen["learning_rate"].values[-1] > 0
    assert run.latest_checkpoint() == 20 // accumulate
    assert callback.recorder is not None and callback.recorder.steps == 20 // accumulate


def test_a_loss_that_the_trainer_hides_is_recorded(tmp_path: Path) -> None:
    trained(tmp_path / "out", Tiny(spoiled=3), WatchCallback(tmp_path / "run"))
    values = RunFolder.open(tmp_path / "run").metrics()["loss"].values
    assert math.isnan(values[3]) and np.isfinite(values[:3]).all()


def test_a_loss_that_is_not_seen_is_said(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"no loss.*see\(loss\)"):
        trained(tmp_path / "out", Silent(), WatchCallback())


def test_wrong_use_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="resume must be left to the trainer"):
        WatchCallback(resume=True)
