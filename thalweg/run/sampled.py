"""What a task's training descends, on a seeded sample of its examples."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from thalweg.objective.examples import Examples, batch_length
from thalweg.objective.supervised import Supervised
from thalweg.run.view import OptimizerView
from thalweg.task import Task

__all__ = ["sample_note", "sampled", "step_size"]


def step_size(task: Task, population: int) -> int:
    """Number of examples that one step of the task's training sees, at most all of them."""
    if isinstance(task.train, DataLoader):
        size = task.train.batch_size or getattr(task.train.batch_sampler, "batch_size", None)
        if size is None:
            size = batch_length(next(iter(task.train)))
    else:
        size = task.batch_size or population
    return min(int(size), population)


def sampled(
    task: Task,
    everything: Examples,
    most: int,
    generator: torch.Generator,
    *,
    batch_size: int,
    seed: int,
    memory: int = 2**30,
) -> tuple[Supervised, OptimizerView]:
    """The loss that the task's optimizer descends, its decay included, and the view of that optimizer.

    Batch statistics are used where the model is in training mode and has such layers.

    Args:
        task: the user's; read only.
        everything: its training examples.
        most: examples to measure on; more than that only where a batch would not fit, up to four
            times as many.
        generator: of the sample.
        batch_size: examples a step.
        seed: of what is random in the loss.
        memory: bytes that a kept graph may take.
    """
    some = everything.subsample(max(most, min(batch_size, 4 * most)), generator)
    noisy = any(isinstance(m, _BatchNorm) and m.training for m in task.model.modules())
    objective = Supervised(
        task.model,
        task.loss,
        some,
        batch_loss=task.batch_loss,
        mode="batch" if noisy else "eval",
        chunk=min(batch_size, some.length) if noisy else None,
        memory=memory,
        seed=seed,
        unit=batch_size,
    )
    view = OptimizerView.of(task)
    objective.decay = view.decay
    return objective, view


def sample_note(objective: Supervised, everything: Examples, seed: int) -> list[str]:
    """What a reader must know where not all examples were measured on."""
    length = objective.data.length
    if length == everything.population:
        return []
    return [
        f"measured on {length} of {everything.population} examples, drawn by seed {seed}: the errors "
        "say what that leaves open"
    ]
