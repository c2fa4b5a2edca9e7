"""Cures that change which examples a step sees, and how many."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset, WeightedRandomSampler

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.errors import UsageError
from thalweg.measure.examples import per_example
from thalweg.measure.gradient_noise import gradient_noise
from thalweg.objective.examples import Examples, is_stack
from thalweg.run.plan import Plan
from thalweg.run.sampled import sampled
from thalweg.run.training import Training
from thalweg.task import Task

__all__ = [
    "batch_by_noise",
    "batch_size",
    "down_weight_erratic",
    "drop_erratic",
    "without_replacement",
]


def _own_size(training: Training) -> int:
    size = training.batch_size or getattr(training.task.train, "batch_size", None)
    return int(size or training.population)


def batch_size(factor: float = 8) -> Cure:
    """Batches ``factor`` times as large; each step costs as many times more."""
    factor = strength("factor", factor)

    def change(training: Training, ground: Ground) -> None:
        size = training.batch_size or getattr(training.task.train, "batch_size", None)
        if size:
            training.batch_size = max(1, min(int(size * factor), training.population))

    def plan(old: Plan) -> Plan:
        return old if old.batch is None else replace(old, batch=max(1, int(old.batch * factor)))

    if factor < 1:
        why = (
            "More steps for the same work, where noise does not hold the run back, or gets it out."
        )
        costs = (
            f"Each step costs {factor:g} times as much and has {1 / factor:g} times the variance."
        )
    else:
        why = f"Divides the variance of the gradient by {factor:g}, and so lowers a noise floor."
        costs = f"Each step costs {factor:g} times as much."
    return Cure(
        f"batch_size x{factor:g}",
        why,
        f"batch_size = max(1, int({factor:g} * batch_size))\n"
        "loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)",
        change,
        costs,
        "Smith, Kindermans, Ying and Le, Don't decay the learning rate, increase the batch size, 2018",
        "batch",
        plan,
    )


def without_replacement() -> Cure:
    """Every example once before any is seen again."""

    def change(training: Training, ground: Ground) -> None:
        loader = training.task.train
        sampler = getattr(loader, "sampler", None)
        if isinstance(sampler, RandomSampler) and sampler.replacement:
            again = DataLoader(
                loader.dataset,
                loader.batch_size,
                shuffle=True,
                collate_fn=loader.collate_fn,
                drop_last=loader.drop_last,
            )
            training.go_on_with(again, None)

    return Cure(
        "without_replacement",
        "The noise of an epoch cancels at its end; nothing changes where the loader shuffles already.",
        "loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)",
        change,
        "No evaluation.",
        "Gürbüzbalaban, Ozdaglar and Parrilo, Why random reshuffling beats SGD, 2021",
        "batch",
        lambda plan: replace(plan, replacement=False),
    )


def _recommended(objective: Any, size: int, population: int) -> tuple[int, float, float, float]:
    """Batch size at which noise and signal are alike, and signal, noise share and cost there.

    ``B = tr Σ / ‖g‖²`` with Σ the covariance of one example's gradient.
    """
    found = gradient_noise(objective, objective.point(), size)
    signal = max(found.signal.value, 0.0)
    best = population if not signal > 0 else min(max(size / signal, 1.0), population)
    cost = 1 + 16 * min(size, objective.data.length // 2) / objective.data.length
    return int(2 ** round(math.log2(best))) if best < population else population, signal, best, cost


def batch_by_noise() -> Cure:
    """The batch at which the noise of a gradient is as large as the gradient, in powers of 2."""

    def change(training: Training, ground: Ground) -> None:
        size = _own_size(training)
        objective, n = ground.objective, training.population
        if size < n:
            best, _, _, cost = _recommended(objective, size, n)
            training.batch_size = min(best, n)
            training.examples_seen += round(cost * objective.data.length)

    def evidence(task: Task) -> str:
        examples = Examples.of(task.train)
        n = examples.population
        loader_size = getattr(task.train, "batch_size", None)
        size = int(task.batch_size or loader_size or n)
        if size >= n:
            return "Every step sees all the data: there is no noise to weigh."
        drawn = torch.Generator().manual_seed(0)
        objective, _ = sampled(task, examples, 2048, drawn, batch_size=size, seed=0, memory=2**30)
        best, signal, _, _ = _recommended(objective, size, n)
        return (
            f"A gradient of {size} examples has {signal:.2g} times as much signal as noise, "
            f"{1 / (1 + signal):.0%} of its square is noise; {best} examples would have equal parts, "
            f"at {best / size:.2g} times the cost of a step."
        )

    return Cure(
        "batch_by_noise",
        "Larger batches where noise drowns the gradient, and smaller ones where it does not.",
        "import math\n"
        "size = loader.batch_size\n"
        "objective = tw.Supervised(model, loss, (x, y))\n"
        "signal = float(tw.measure.gradient_noise(objective, objective.point(), size).signal)\n"
        "best = min(max(size / signal, 1), len(x)) if signal > 0 else len(x)\n"
        "best = 2 ** round(math.log2(best)) if best < len(x) else best\n"
        "batch_size = min(best, len(x))\n"
        "loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)",
        change,
        "17 gradient evaluations at most to measure; each step as its size.",
        "McCandlish, Kaplan, Amodei and others, An empirical model of large-batch training, 2018",
        "batch",
        None,
        evidence,
    )


def _erratic(training: Training) -> list[int]:
    """The rows whose gradients are large and against the others', charged to the training."""
    found = per_example(training.task)
    training.examples_seen += round(found.cost * training.population)
    return found.erratic_rows().tolist()


def drop_erratic() -> Cure:
    """Trains on without the examples whose gradient is large and opposes that of the others."""

    def change(training: Training, ground: Ground) -> None:
        rows = set(_erratic(training))
        kept = [row for row in range(training.population) if row not in rows]
        if rows and kept:
            _resample(training, kept, None)

    return Cure(
        "drop_erratic",
        "Takes out wrong labels and outliers, whose pull is against all others; look at them first.",
        "found = tw.measure.per_example(tw.Supervised(model, loss, (x, y)))\n"
        "keep = torch.ones(len(x), dtype=torch.bool)\n"
        "keep[found.erratic_rows().tolist()] = False\n"
        "dataset = TensorDataset(x[keep], y[keep])\n"
        "loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)",
        change,
        "2 gradient evaluations on up to 1000 examples; what the examples had to say.",
        "Pleiss, Zhang, Elenberg and Weinberger, Identifying mislabeled data, 2020",
        "examples",
        evidence=_who_is_erratic,
    )


def down_weight_erratic(share: float = 0.1) -> Cure:
    """Draws the examples whose gradient opposes the others' ``share`` times as often."""
    share = strength("share", share, most=1.0)

    def change(training: Training, ground: Ground) -> None:
        rows = _erratic(training)
        weights = torch.ones(training.population, dtype=torch.float64)
        weights[rows] = share
        if rows:
            _resample(training, None, weights)

    return Cure(
        f"down_weight_erratic {share:g}",
        "As drop_erratic, but the examples go on to be seen now and then: where some may be right.",
        "found = tw.measure.per_example(tw.Supervised(model, loss, (x, y)))\n"
        "rows = found.erratic_rows().tolist()\n"
        "weights = torch.ones(len(x), dtype=torch.float64)\n"
        f"weights[rows] = {share:g}\n"
        "if rows:\n"
        "    sampler = torch.utils.data.WeightedRandomSampler(weights, len(x))\n"
        "    loader = DataLoader(dataset, batch_size=batch_size, sampler=sampler)",
        change,
        "2 gradient evaluations on up to 1000 examples; batches are drawn with replacement.",
        "Ren, Zeng, Yang and Urtasun, Learning to reweight examples for robust deep learning, 2018",
        "examples",
    )


def _who_is_erratic(task: Task) -> str:
    found = per_example(task)
    rows = found.erratic_rows()
    if not len(rows):
        return f"None of {len(found)} examples has a large gradient that opposes the others'."
    first = ", ".join(str(row) for row in rows[:5].tolist())
    return (
        f"{len(rows)} of {len(found)} examples have a large gradient that opposes the others': the "
        f"strongest are the rows {first}."
    )


def _resample(training: Training, kept: list[int] | None, weights: Tensor | None) -> None:
    """Some of the examples only, or all by their weights; the batches stay as large."""
    train, size = training.task.train, _own_size(training)
    if isinstance(train, DataLoader):
        dataset: Any = train.dataset
        collate = train.collate_fn
    else:
        dataset, collate = train, None
    if is_stack(dataset) and kept is not None:
        some = tree_map(lambda leaf: leaf[kept] if hasattr(leaf, "ndim") else leaf, dataset)
        training.go_on_with(some, None if training.batch_size is None else min(size, len(kept)))
        return
    if is_stack(dataset):
        dataset = _Stack(Examples.of(dataset))
    elif not isinstance(dataset, Dataset):
        raise UsageError(
            "train must be tensors, a Dataset or a DataLoader for examples to be left out"
        )
    sampler = None
    if kept is not None:
        dataset, size = Subset(dataset, kept), min(size, len(kept))
    if weights is not None:
        sampler = WeightedRandomSampler(weights.tolist(), len(weights))
    loader = DataLoader(dataset, size, shuffle=sampler is None, sampler=sampler, collate_fn=collate)
    training.go_on_with(loader, None)


class _Stack(Dataset[Any]):
    """The rows of tensors, one by one."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, index: int) -> Any:
        return tree_map(lambda leaf: leaf[0], self.examples.fetch([index]))

    def __len__(self) -> int:
        return len(self.examples)
