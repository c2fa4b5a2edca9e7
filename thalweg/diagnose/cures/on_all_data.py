"""Cures that take steps of their own on all the data, in the place of the optimizer's."""

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg.diagnose.cures.cure import Cure, Ground, whole
from thalweg.diagnose.cures.places import BACKWARD
from thalweg.diagnose.cures.schedules import ENDS
from thalweg.estimate import LOSS_COST
from thalweg.measure.descent import descend_from
from thalweg.measure.steps import newton_step
from thalweg.run.training import Training

__all__ = ["basin_hopping", "newton_cg", "saddle_free_newton"]


def newton_cg(products: int = 10) -> Cure:
    """Newton steps by conjugate gradients on all the data, as long as a line search finds best."""
    return _newton(
        "newton_cg",
        products,
        saddle_free=False,
        summary="Goes straight along a ravine, whatever its conditioning; leaves out directions of "
        "negative curvature.",
        source="Martens, Deep learning via Hessian-free optimization, 2010",
    )


def saddle_free_newton(products: int = 10) -> Cure:
    """Newton steps with \\|H\\| in the place of H, which lead down along negative curvature too."""
    return _newton(
        "saddle_free_newton",
        products,
        saddle_free=True,
        summary="Leaves saddles and ravines alike: each direction is scaled by its own curvature.",
        source="Dauphin and others, Identifying and attacking the saddle point problem, 2014",
    )


def _newton(name: str, products: int, *, saddle_free: bool, summary: str, source: str) -> Cure:
    products = whole("products", products)

    def change(training: Training, ground: Ground) -> None:
        def move(point: Tensor) -> tuple[Tensor, float]:
            step, drop = newton_step(
                ground.objective, point, saddle_free=saddle_free, products=products
            )
            return step, drop.cost

        lengths = 10 if saddle_free else 8
        _go_by(training, ground, move, 2 + 2 * products + LOSS_COST * lengths)

    argument = ", saddle_free=True" if saddle_free else ""
    return Cure(
        f"{name} {products}",
        summary,
        f"{WHOLE}{BACKWARD}{HERE}"
        f"move, fall = tw.measure.newton_step(objective, point{argument}, products={products})\n"
        + TAKE
        + ENDS,
        change,
        f"{products} Hessian-vector products a step, 2 gradient evaluations each, on all the data.",
        source,
        "optimizer",
        decides=("gradient",),
    )


WHOLE = (
    "weights = [p for p in model.parameters() if p.requires_grad]\n"
    'decays = {p: g.get("weight_decay", 0.0) for g in optimizer.param_groups for p in g["params"]}\n'
    "decay = torch.cat([torch.full_like(p, decays.get(p, 0.0)).flatten() for p in weights])\n"
    "objective = tw.Supervised(model, loss, (x, y), decay=decay)\n"
    'groups = [{"params": g["params"]} for g in optimizer.param_groups]\n'
    "optimizer = torch.optim.SGD(groups, lr=1.0)  # which adds the move\n"
)
"""The loss over all the data with the weight decay, and an optimizer that adds a move, as pasted."""

HERE = "point = torch.cat([p.detach().flatten() for p in weights])\n"
"""Where the weights are, as pasted."""

TAKE = (
    "for p, piece in zip(weights, move.split([p.numel() for p in weights])):\n"
    "    p.grad = -piece.view(p.shape)"
)
"""What gives the optimizer a move, as pasted."""

FAR = 3.0
"""Times the size of fresh weights of the noise of every second hop."""


def basin_hopping(evaluations: int = 50) -> Cure:
    """Descends by L-BFGS from fresh weights and from far noise in turn, and goes where it is lower.

    Each descent has ``evaluations`` gradient evaluations on all the data; where it does not end lower,
    the weights stay.
    """
    evaluations = whole("evaluations", evaluations)

    def change(training: Training, ground: Ground) -> None:
        hops = [0]

        def move(point: Tensor) -> tuple[Tensor, float]:
            noise = torch.randn(point.shape, generator=ground.generator, dtype=point.dtype)
            far = ground.scales * noise.to(point.device)
            start = point + FAR * far if hops[0] % 2 else far
            hops[0] += 1
            here = ground.objective.value(point)
            found = descend_from(ground.objective, start, evaluations=evaluations)
            lower = found.loss.value < here
            step = found.point - point if lower else torch.zeros_like(point)
            return step, LOSS_COST + found.loss.cost

        _go_by(training, ground, move, evaluations + LOSS_COST)

    return Cure(
        f"basin_hopping {evaluations}",
        "Leaves a minimum for a lower one, and stays where it finds none: a restart that gives nothing "
        "up.",
        WHOLE + "sizes = torch.cat([\n"
        "    torch.full((p.numel(),), p.shape[1:].numel() ** -0.5 if p.ndim > 1\n"
        "               else max(0.1, float(p.detach().norm()) / p.numel() ** 0.5))\n"
        "    for p in weights])\n"
        f"hop = 0\n{BACKWARD}{HERE}"
        "far = sizes * torch.randn_like(point)\n"
        f"start = point + {FAR:g} * far if hop % 2 else far\n"
        "hop += 1\n"
        f"found = tw.measure.descend_from(objective, start, evaluations={evaluations})\n"
        "lower = found.loss.value < objective.value(point)\n"
        "move = found.point - point if lower else torch.zeros_like(point)\n" + TAKE + ENDS,
        change,
        f"{evaluations} gradient evaluations on all the data a hop; most hops find nothing.",
        "Wales and Doye, Global optimization by basin-hopping, 1997",
        "optimizer",
        decides=("gradient",),
    )


def _go_by(
    training: Training,
    ground: Ground,
    move: Callable[[Tensor], tuple[Tensor, float]],
    cost: float,
) -> None:
    """Every step adds what ``move`` gives at the point, and is charged what it says that it cost.

    Args:
        cost: gradient evaluations on the objective's examples that a step takes, about.
    """
    share = len(ground.objective.data)
    training.gradients_a_step += cost * share / (training.batch_size or share)
    training.rebuild(
        lambda groups: torch.optim.SGD([{"params": group["params"]} for group in groups], lr=1.0)
    )

    def turn(which: Training) -> None:
        step, spent = move(which.point())
        which.examples_seen += round(spent * share)
        trained = [p for p in which.model.parameters() if p.requires_grad]
        for p, piece in zip(trained, step.split([p.numel() for p in trained]), strict=True):
            p.grad = -piece.view(p.shape)

    training.before_update.append(turn)
