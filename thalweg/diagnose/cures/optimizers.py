"""Cures that put another of torch's optimizers in place of the user's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from thalweg.diagnose.cures.cure import Cure, Ground, strength
from thalweg.diagnose.cures.schedules import ENDS
from thalweg.run.training import Training

__all__ = ["adam", "adamw", "momentum", "nesterov", "rmsprop"]


def _replaced(
    name: str,
    kind: type[torch.optim.Optimizer],
    options: Mapping[str, Any],
    rate: float | None,
    summary: str,
    costs: str,
    source: str,
) -> Cure:
    """A cure that builds ``kind`` on the user's groups; at their own rates without ``rate``."""

    def make(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        given = groups if rate is None else [group | {"lr": rate} for group in groups]
        return kind(given, **options)  # pyright: ignore[reportCallIssue]

    def change(training: Training, ground: Ground) -> None:
        training.rebuild(make)

    kept = '"params", "lr", "weight_decay"' if rate is None else '"params", "weight_decay"'
    said = {**({} if rate is None else {"lr": rate}), **options}
    arguments = "".join(
        f", {key}={value:g}" if isinstance(value, float) else f", {key}={value!r}"
        for key, value in said.items()
    )
    code = (
        f"kept = ({kept})\n"
        "groups = [{k: g[k] for k in kept if k in g} for g in optimizer.param_groups]\n"
        f"optimizer = torch.optim.{kind.__name__}(groups{arguments})" + ENDS
    )

    def plan(old: Any) -> Any:
        decay = {k: v for k, v in old.options.items() if k == "weight_decay"}
        at = old.learning_rate if rate is None else rate
        name = kind.__name__.lower()
        return replace(old, optimizer=name, options={**decay, **options}, learning_rate=at)

    return Cure(name, summary, code, change, costs, source, "optimizer", plan)


def momentum(beta: float = 0.9) -> Cure:
    """SGD with heavy-ball momentum at the present rates, the groups' weight decay kept."""
    beta = strength("beta", beta, most=1.0)
    return _replaced(
        f"momentum {beta:g}",
        torch.optim.SGD,
        {"momentum": beta},
        None,
        "Adds up steps along the floor of a ravine while those across cancel.",
        "One buffer as large as the weights.",
        "Polyak, Some methods of speeding up the convergence of iteration methods, 1964",
    )


def nesterov(beta: float = 0.9) -> Cure:
    """SGD with Nesterov's momentum at the present rates, the groups' weight decay kept."""
    beta = strength("beta", beta, most=1.0)
    return _replaced(
        f"nesterov {beta:g}",
        torch.optim.SGD,
        {"momentum": beta, "nesterov": True},
        None,
        "Momentum that looks ahead: along a ravine as fast, with less swing across it.",
        "One buffer as large as the weights.",
        "Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum, 2013",
    )


def rmsprop(rate: float = 1e-3) -> Cure:
    """RMSprop in place of the user's optimizer, the groups' weight decay kept."""
    rate = strength("rate", rate)
    return _replaced(
        f"rmsprop {rate:g}",
        torch.optim.RMSprop,
        {},
        rate,
        "Scales each coordinate by the size of its recent gradients: for slopes of unlike size.",
        "One buffer as large as the weights; a rate of its own.",
        "Tieleman and Hinton, Lecture 6.5: rmsprop, 2012",
    )


def adam(rate: float = 1e-2) -> Cure:
    """Adam in place of the user's optimizer, the groups' weight decay kept."""
    rate = strength("rate", rate)
    return _replaced(
        f"adam {rate:g}",
        torch.optim.Adam,
        {},
        rate,
        "Scales each coordinate by its own gradient: evens out a ravine, and moves on faint slopes.",
        "Two buffers as large as the weights; a rate of its own.",
        "Kingma and Ba, Adam: a method for stochastic optimization, 2015",
    )


def adamw(rate: float = 1e-2) -> Cure:
    """AdamW in place of the user's optimizer, the groups' weight decay kept but decoupled."""
    rate = strength("rate", rate)
    return _replaced(
        f"adamw {rate:g}",
        torch.optim.AdamW,
        {},
        rate,
        "Adam whose weight decay is not scaled by the gradients, so that it holds all weights alike.",
        "Two buffers as large as the weights; a rate of its own.",
        "Loshchilov and Hutter, Decoupled weight decay regularization, 2019",
    )
