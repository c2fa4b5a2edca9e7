"""Names of optimizers, and torch's own classes behind them."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError

__all__ = ["OPTIMIZERS", "ROW_MIXING", "make_optimizer", "suggestion"]

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    kind.__name__.lower(): kind
    for name in (
        *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"),
        *("Rprop", "ASGD", "LBFGS", "Adafactor", "Muon"),
    )
    if (kind := getattr(torch.optim, name, None)) is not None  # Muon came with torch 2.9
}
"""torch's class for every name; names are lower-case."""

ROW_MIXING = {
    "lbfgs": "its line search and its curvature pairs belong to the whole tensor",
    "adafactor": "it scales by the size of the whole tensor",
    "muon": "it orthogonalises the whole tensor",
}
"""Why an optimizer cannot run many trials as the rows of one tensor."""


def make_optimizer(
    name: str,
    parameters: Iterable[Tensor],
    learning_rate: float,
    options: Mapping[str, Any] | None = None,
    *,
    trials: int = 1,
) -> torch.optim.Optimizer:
    """torch's optimizer of that name, in any case of letters.

    Args:
        name: a key of :data:`OPTIMIZERS`.
        parameters: the tensors to be moved; a trial is a row.
        learning_rate: its ``lr``.
        options: its other arguments.
        trials: how many rows are runs of their own.

    Raises:
        UsageError: an unknown name or option (with a suggestion), a value that torch refuses, or
            an optimizer that mixes rows together with more than one trial.
    """
    key = str(name).lower()
    if key not in OPTIMIZERS:
        raise UsageError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {name!r}"
            + suggestion(key, OPTIMIZERS)
        )
    if trials > 1 and key in ROW_MIXING:
        raise UsageError(
            f"optimizer {key} runs one trial only, not {trials}: {ROW_MIXING[key]}, so the trials "
            "would not be independent"
        )
    given = {"lr": learning_rate, **(options or {})}
    return construct(OPTIMIZERS[key], "optimizer", list(parameters), **given)


def construct(make: Callable[..., Any], argument: str, first: Any, **options: Any) -> Any:
    """``make(first, **options)``, with torch's refusals as one sentence about ``argument``.

    Raises:
        UsageError: an option that ``make`` does not know (with a suggestion), or a value that it
            refuses.
    """
    name = getattr(make, "__name__", argument)
    known = list(inspect.signature(make).parameters)[1:]
    for option in options:
        if option not in known:
            raise UsageError(
                f"{argument} {name} takes {', '.join(known)}, but was given {option!r}"
                + suggestion(option, known)
            )
    try:
        return make(first, **options)
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise UsageError(f"{argument} {name} refuses {given}: {error}") from error


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'adam'?`` where a known name is near, else nothing."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
