"""A Task takes what a user has and refuses the rest in one sentence."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from problems import classes, network, vectors
from thalweg.errors import DataError, ModelError, UsageError
from thalweg.task import Task

DATA = (vectors(8, 5), classes(8))
DATASET = TensorDataset(*DATA)
MODEL = network()


def task(**changes: Any) -> Task:
    given: dict[str, Any] = {
        "model": MODEL,
        "loss": F.cross_entropy,
        "train": DATA,
        "optimizer": torch.optim.SGD(MODEL.parameters(), 0.1),
    }
    return Task(**(given | changes))


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        list(DATA),
        DATASET,
        DataLoader(DATASET),
        [DATA],
        {"x": DATA[0]},
        DATA[0].numpy(),
        DATA[0],
    ],
)
def test_data_of_any_form_are_taken(data: Any) -> None:
    assert task(train=data, test=data).train is data


def test_whole_numbers_of_any_kind_are_taken() -> None:
    found = task(batch_size=np.int64(4), steps=np.int32(100))
    assert found.batch_size == 4 and type(found.batch_size) is int and found.steps == 100


def test_a_batch_loss_stands_in_for_a_loss() -> None:
    found = task(loss=None, batch_loss=lambda model, batch: model(batch[0]).mean())
    assert found.loss is None and found.batch_loss is not None and found.name == "task"


WRONG: list[tuple[dict[str, Any], type[UsageError], str]] = [
    ({"model": F.relu}, ModelError, "model must be a torch.nn.Module, not function"),
    ({"model": nn.ReLU()}, ModelError, "model must have parameters, but ReLU has none to train"),
    ({"optimizer": "Adam"}, UsageError, "optimizer must be a torch.optim.Optimizer, not str"),
    ({"optimizer": torch.optim.Adam}, UsageError, "must be a torch.optim.Optimizer, not type"),
    ({"loss": None}, UsageError, r"exactly one of loss.* and batch_loss.* given, but neither was"),
    ({"batch_loss": F.relu}, UsageError, "exactly one of .* must be given, but both were"),
    ({"loss": 3}, UsageError, "loss must be callable, not int"),
    ({"batch_size": 0}, UsageError, "batch_size must be a whole number above 0, not 0"),
    ({"batch_size": 2.0}, UsageError, "batch_size must be a whole number above 0, not 2.0"),
    ({"batch_size": True}, UsageError, "batch_size must be a whole number above 0, not True"),
    ({"steps": 0}, UsageError, "steps must be a whole number above 0, not 0"),
    ({"steps": "many"}, UsageError, "steps must be a whole number above 0, not 'many'"),
    ({"train": None}, DataError, "train must be given: tensors, a Dataset or a DataLoader"),
    ({"train": 5}, DataError, "train must be .* tensors, a Dataset or a DataLoader, not int"),
    ({"test": 5}, DataError, "test must be .* tensors, a Dataset or a DataLoader, not int"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_what_cannot_be_is_refused(
    change: dict[str, Any], error: type[UsageError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        task(**change)
    assert "\n" not in str(caught.value)
