"""Cures: changes to a training that can be pasted, applied to a fork of it, and raced."""

import re
from collections.abc import Callable

from thalweg.diagnose.cures.advice import (
    clean_data,
    early_stopping,
    larger_model,
    look_at_data,
    look_at_examples,
    mend_the_wiring,
    scale_inputs,
)
from thalweg.diagnose.cures.cure import Change, Cure, Ground
from thalweg.diagnose.cures.moves import (
    negative_curvature,
    perturb,
    restart,
)
from thalweg.diagnose.cures.rates import (
    adam,
    batch_size,
    clip,
    decay_rate,
    learning_rate,
    momentum,
    weight_decay,
)

__all__ = [
    "CATALOGUE",
    "Change",
    "Cure",
    "Ground",
    "adam",
    "batch_size",
    "clean_data",
    "clip",
    "cure_named",
    "decay_rate",
    "early_stopping",
    "full_name",
    "larger_model",
    "learning_rate",
    "look_at_data",
    "look_at_examples",
    "mend_the_wiring",
    "momentum",
    "negative_curvature",
    "perturb",
    "restart",
    "scale_inputs",
    "weight_decay",
]

CATALOGUE: dict[str, Callable[..., Cure]] = {
    "learning_rate": learning_rate,
    "decay_rate": decay_rate,
    "momentum": momentum,
    "adam": adam,
    "batch_size": batch_size,
    "perturb": perturb,
    "negative_curvature": negative_curvature,
    "restart": restart,
    "clip": clip,
    "weight_decay": weight_decay,
    "scale_inputs": scale_inputs,
    "mend_the_wiring": mend_the_wiring,
    "clean_data": clean_data,
    "look_at_examples": look_at_examples,
    "look_at_data": look_at_data,
    "larger_model": larger_model,
    "early_stopping": early_stopping,
}
"""Every kind of cure by the first word of its name."""


def full_name(kind: str) -> str:
    """A whole name of that kind of cure, with a number where it needs one."""
    return "learning_rate x0.1" if kind == "learning_rate" else CATALOGUE[kind]().name


def cure_named(name: str) -> Cure | None:
    """The cure of that name, such as ``learning_rate x0.1`` or ``perturb``; None if there is none."""
    kind, _, rest = name.strip().partition(" ")
    if kind not in CATALOGUE:
        return None
    number = re.fullmatch(r"(?:x|over )?([0-9.eE+-]+)", rest.strip())
    try:
        if number:
            value = float(number[1])
            return CATALOGUE[kind](int(value) if kind == "decay_rate" else value)
        return None if rest else CATALOGUE[kind]()
    except (TypeError, ValueError):
        return None
