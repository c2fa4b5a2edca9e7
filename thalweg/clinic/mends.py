"""Changes that mend the wiring or the data; each undoes what one kind of case has broken."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from thalweg.clinic.interventions import Intervention
from thalweg.clinic.training import sharpness
from thalweg.task import Task

__all__ = [
    "centre_inputs",
    "drop_bad_rows",
    "drop_softmax",
    "hold_every_parameter",
    "informative_inputs",
    "safe_logarithm",
    "scale_inputs",
    "shift_targets",
    "train_mode",
    "unfreeze",
]


def _hold_every_parameter(task: Task, generator: torch.Generator) -> Task:
    own = {id(p): p for p in task.model.parameters()}
    groups = task.optimizer.param_groups
    strays = [g for g in groups if any(id(p) not in own for p in g["params"])]
    left = dict(own)
    for group in groups:
        group["params"] = [left.pop(id(p)) for p in dict.fromkeys(group["params"]) if id(p) in left]
    (strays or groups)[-1]["params"].extend(left.values())
    return task


hold_every_parameter = Intervention(
    "an optimizer over the model's own parameters, each once", _hold_every_parameter
)
"""Strangers leave the groups, what is missing takes their place."""


def _drop_softmax(task: Task, generator: torch.Generator) -> Task:
    for module in task.model.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Softmax):
            module[-1] = nn.Identity()
    return task


drop_softmax = Intervention("no softmax before the cross-entropy", _drop_softmax)
"""The model's last layer hands over logits."""


def _safe_logarithm(task: Task, generator: torch.Generator) -> Task:
    return replace(_drop_softmax(task, generator), loss=nn.functional.cross_entropy)


safe_logarithm = Intervention("the cross-entropy of the logits", _safe_logarithm)
"""The logarithm is taken before anything can underflow."""


def _unfreeze(task: Task, generator: torch.Generator) -> Task:
    task.model.requires_grad_(True)
    return task


unfreeze = Intervention("every parameter requires its gradient", _unfreeze)
"""requires_grad is True everywhere."""


def _train_mode(task: Task, generator: torch.Generator) -> Task:
    task.model.train()
    return task


train_mode = Intervention("model.train()", _train_mode)
"""BatchNorm normalises by the batch again."""


def _shift_targets(task: Task, generator: torch.Generator) -> Task:
    lowest = task.train[1].min()
    test = None if task.test is None else (task.test[0], task.test[1] - lowest)
    return replace(task, train=(task.train[0], task.train[1] - lowest), test=test)


shift_targets = Intervention("classes that count from 0", _shift_targets)
"""The smallest class becomes 0."""


def _good(examples: tuple[Tensor, Tensor], bound: float) -> tuple[Tensor, Tensor]:
    inputs, targets = examples
    rows = inputs.flatten(1)
    if targets.is_floating_point():
        rows = torch.cat([rows, targets.flatten(1)], 1)
    keep = rows.norm(dim=1) < bound  # NaN compares as False
    return inputs[keep], targets[keep]


def drop_bad_rows(bound: float = 1e6) -> Intervention:
    """Examples that hold a number that is not finite, or are longer than ``bound``, are left out."""

    def apply(task: Task, generator: torch.Generator) -> Task:
        test = None if task.test is None else _good(task.test, bound)
        return replace(task, train=_good(task.train, bound), test=test)

    return Intervention(f"no example longer than {bound:g}", apply)


def _scale_inputs(task: Task, generator: torch.Generator) -> Task:
    inputs, targets = task.train
    spread = inputs.std(0)
    factors = torch.where(spread > 0, spread.max() / spread, torch.ones_like(spread))
    for group in task.optimizer.param_groups:
        group["lr"] /= 3
    first = next(m for m in task.model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.weight /= factors
    test = None if task.test is None else (task.test[0] * factors, task.test[1])
    return replace(task, train=(inputs * factors, targets), test=test)


scale_inputs = Intervention("every column as wide as the widest", _scale_inputs)
"""One deviation for all columns, and weights that undo it: the same outputs.

The rate goes down to a third, since equal columns that correlate are steeper together.
"""


def _centre_inputs(task: Task, generator: torch.Generator) -> Task:
    assert task.loss is not None
    inputs, targets = task.train
    centre = inputs.mean(0)
    before = sharpness(task.model, task.loss, task.train)
    first = next(m for m in task.model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.bias += first.weight @ centre
    test = None if task.test is None else (task.test[0] - centre, task.test[1])
    centred = replace(task, train=(inputs - centre, targets), test=test)
    after = sharpness(task.model, task.loss, centred.train)
    for group in centred.optimizer.param_groups:
        group["lr"] *= before / after
    return centred


centre_inputs = Intervention("columns of mean 0 and the rate they bear", _centre_inputs)
"""The columns lose their means, the first bias makes up for it, and stability stays as it was."""


def _informative_inputs(task: Task, generator: torch.Generator) -> Task:
    def told(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        classes = int(task.train[1].max()) + 1
        signal = nn.functional.one_hot(targets, classes).to(inputs) * 3
        return torch.cat([signal, inputs[:, classes:]], 1), targets

    test = None if task.test is None else told(*task.test)
    return replace(task, train=told(*task.train), test=test)


informative_inputs = Intervention("inputs of which some tell the class", _informative_inputs)
"""The first columns hold the class: the same model and training can learn what can be learnt."""
