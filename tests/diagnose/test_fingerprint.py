"""The fingerprint of a training: another where the run would be another, the same where not."""

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thalweg.diagnose.examination import SAMPLE, Examination
from thalweg.diagnose.fingerprint import fingerprint, of_training
from thalweg.diagnose.race import race
from thalweg.task import Task

EXAMPLES = SAMPLE + 200


def unmeasured() -> int:
    """An example that the seeded sample leaves out."""
    drawn = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0))[:SAMPLE]
    return next(i for i in range(EXAMPLES) if i not in set(drawn.tolist()))


def weighted(output: Tensor, target: Tensor, *, weight: float = 1.0) -> Tensor:
    return weight * F.cross_entropy(output, target)


def of(**changed: Any) -> str:
    """The fingerprint of one training, made anew with what is changed."""
    torch.manual_seed(0)
    x, y = torch.randn(EXAMPLES, 3), torch.randint(0, 2, (EXAMPLES,))
    x[changed.get("example", slice(0, 0))] += 1
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(changed.get("drop", 0.2)))
    model.append(nn.Linear(4, 2))
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = changed.get("statistics", 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gamma = changed.get("gamma", 0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: gamma**step)
    loader = DataLoader(
        TensorDataset(x, y),
        64,
        shuffle=changed.get("shuffle", True),
        drop_last=changed.get("drop_last", False),
        generator=torch.Generator().manual_seed(changed.get("order", 0)),
    )
    loss: Any = functools.partial(weighted, weight=1.0)
    if "masked" in changed:  # the same value in evaluation mode, where nothing is dropped
        loss = lambda output, target: weighted(F.dropout(output, 0.5, model.training), target)  # noqa: E731
    task = Task(model=model, loss=loss, train=loader, optimizer=optimizer, schedule=schedule)
    torch.manual_seed(changed.get("seed", 3))
    return of_training(Examination.of(task, budget=1.0))


@pytest.mark.parametrize(
    "changed",
    [
        {"drop": 0.5},
        {"statistics": 0.2},
        {"gamma": 0.5},
        {"shuffle": False},
        {"drop_last": True},
        {"order": 1},
        {"example": unmeasured()},
        {"masked": True},
        {"seed": 4},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_the_loss_where_it_stands_does_not_show_is_seen(changed: dict[str, Any]) -> None:
    assert of() == of()
    assert of(**changed) != of()


def test_containers_are_told_apart_and_cycles_end() -> None:
    around: list[Any] = [1]
    around.append(around)
    different = [
        [[1, 2], 3],
        [1, [2, 3]],
        (1, 2, 3),
        {"a": 1},
        {"a": None},
        {1, 2},
        around,
        np.array(["x", None], dtype=object),
        np.array(["y", None], dtype=object),
        torch.zeros(2),
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(2, dtype=torch.bfloat16),
    ]
    assert len({fingerprint(each) for each in different}) == len(different)
    assert fingerprint({"b", "a", "c"}) == fingerprint({"c", "b", "a"})


class Drawing(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x + float(np.random.randn()), y  # noqa: NPY002


@pytest.mark.parametrize("draws", [False, True])
def test_states_that_nothing_is_drawn_from_do_not_end_a_race(draws: bool, tmp_path: Path) -> None:
    """NumPy's and Python's are other ones in every process, where the user does not seed them."""

    def once(seed: int) -> int:
        torch.manual_seed(5)
        data = (Drawing if draws else TensorDataset)(torch.randn(40, 2), torch.randn(40, 1))
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        task = Task(
            model=model, loss=F.mse_loss, train=DataLoader(data, 8, True), optimizer=optimizer
        )
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        race(task, ["learning_rate x0.5"], budget=4, seeds=2, folder=tmp_path)
        return len((tmp_path / "race.jsonl").read_text().splitlines())

    assert once(1) == 5 and once(1) == 5  # a line that names the race, and one for each run
    # Only the first seed goes on from the user's random states.
    assert once(2) == (7 if draws else 5)
    assert once(1) == (7 if draws else 5)
