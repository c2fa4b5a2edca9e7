"""Cures: changes to a training that can be pasted, applied to a fork of it, and raced."""

import inspect
import re
from collections.abc import Callable

from thalweg.diagnose.cures.advice import (
    batch_normalisation,
    clean_data,
    larger_model,
    look_at_data,
    look_at_examples,
    mend_the_wiring,
    scale_inputs,
)
from thalweg.diagnose.cures.averages import ema, fast_ensemble, snapshots, swa
from thalweg.diagnose.cures.batches import (
    batch_by_noise,
    batch_size,
    down_weight_erratic,
    drop_erratic,
    without_replacement,
)
from thalweg.diagnose.cures.cure import Change, Cure, Ground
from thalweg.diagnose.cures.gradients import (
    clip,
    gradient_noise,
    perturbed_descent,
    sharpness_aware,
    weight_decay,
)
from thalweg.diagnose.cures.loop import in_loop
from thalweg.diagnose.cures.moves import negative_curvature, perturb, restart, revive
from thalweg.diagnose.cures.on_all_data import basin_hopping, newton_cg, saddle_free_newton
from thalweg.diagnose.cures.optimizers import adam, adamw, momentum, nesterov, rmsprop
from thalweg.diagnose.cures.rates import learning_rate, range_test
from thalweg.diagnose.cures.schedules import (
    cosine,
    cyclic,
    decay_on_plateau,
    decay_rate,
    one_cycle,
    staged,
    step_decay,
    warm_restarts,
    warmup,
)
from thalweg.diagnose.cures.stopping import decay_then_stop, early_stopping
from thalweg.errors import UsageError

_MADE = (
    *(learning_rate, range_test, warmup),
    *(decay_rate, step_decay, cosine, cyclic, one_cycle, warm_restarts, decay_on_plateau, staged),
    *(momentum, nesterov, rmsprop, adam, adamw),
    *(batch_size, batch_by_noise, without_replacement, drop_erratic, down_weight_erratic),
    *(perturb, perturbed_descent, gradient_noise, negative_curvature, restart, revive),
    *(newton_cg, saddle_free_newton, basin_hopping, sharpness_aware, clip, weight_decay),
    *(swa, ema, snapshots, fast_ensemble, early_stopping, decay_then_stop),
    *(scale_inputs, batch_normalisation, mend_the_wiring, clean_data),
    *(look_at_examples, look_at_data, larger_model),
)

CATALOGUE: dict[str, Callable[..., Cure]] = {make.__name__: make for make in _MADE}
"""Every kind of cure by the first word of its name."""

__all__ = ["CATALOGUE", "Change", "Cure", "Ground"]
__all__ += ["cure_named", "full_name", "in_loop", "out_of_range"]
__all__ += [make.__name__ for make in _MADE]


def full_name(kind: str) -> str:
    """A whole name of that kind of cure, with a number where it needs one."""
    return "learning_rate x0.1" if kind == "learning_rate" else CATALOGUE[kind]().name


def cure_named(name: str) -> Cure | None:
    """The cure of that name, such as ``learning_rate x0.1`` or ``perturb``; None if there is none."""
    try:
        return _made(name)
    except UsageError:
        return None


def out_of_range(name: str) -> str | None:
    """The rule that the number in the name of a cure breaks; None where there is no such number."""
    try:
        _made(name)
    except UsageError as error:
        return str(error)
    return None


def _made(name: str) -> Cure | None:
    kind, _, rest = name.strip().lower().partition(" ")
    if kind not in CATALOGUE:
        return None
    make = CATALOGUE[kind]
    takes = list(inspect.signature(make).parameters.values())
    number = re.fullmatch(r"(?:x|over )?([0-9.e+-]+)", rest.strip())
    if not number:
        needs = any(each.default is inspect.Parameter.empty for each in takes)
        return None if rest or needs else make()
    try:
        value = float(number[1])
    except ValueError:
        return None
    if len(takes) != 1:
        return None
    is_whole = takes[0].annotation is int and value.is_integer()
    return make(int(value) if is_whole else value)
