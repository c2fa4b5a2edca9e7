"""Probes for a run that stands still: a nudge, a fresh start, and rounds of growing noise."""

import copy
import math

import torch
from torch import Tensor

from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.diagnose.sampling import population_fall
from thalweg.estimate import Estimate
from thalweg.measure.descent import Descent, descend_from
from thalweg.objective.placed import random_state

__all__ = ["escape", "fresh_point", "nudge"]

NUDGES = (0.01, 0.1)
"""Lengths of a nudge in units of the usual scale of a fresh weight, 1/√fan_in."""

SIZES = (1.0, 3.0, 0.3, 1.0, 3.0, 0.1)
"""The same for the escape probe, in turn while its budget lasts: from 1 up every weight is drawn
anew, which tells most."""

SAME = 1e-3
"""Two descents whose losses differ by less than this share of the range ended alike."""

MOST = 30
"""Trials of the escape probe."""

FIRST, MORE = 30, 60
"""Gradient evaluations of each trial's descent, and how many more where it has come near the start's
loss or is still falling: most trials end early, so that there can be many."""

CLEAR = 0.05
"""A fall of this share of the known range ends the escape probe: better is reachable."""


def nudge(e: Examination, *, evaluations: int = 25) -> None:
    """Add ``nudge_fall``: the fall that a small push and descent reach, the larger of two sizes.

    A strict saddle is left from any push, a minimum takes the descent back to where it was.
    """
    best: Descent | None = None
    spent = 0.0
    for length in NUDGES:
        found = descend_from(e.objective, _pushed(e, length, 10), evaluations=evaluations)
        spent += found.loss.cost
        if best is None or found.loss.value < best.loss.value:
            best = found
            e.estimates["nudge_length"] = Estimate(length, 0.0, "of a fresh weight")
    assert best is not None
    start = e.estimates["loss"].value
    e.directions["nudged"] = best.point
    found = Estimate(start - best.loss.value, best.loss.error, "loss", spent)
    found = population_fall(e, found, best.point)
    e.add_fall("nudge_fall", found.value, found.error, found.cost * e.share)


def escape(e: Examination, *, budget: float, scale: float) -> None:
    """Add ``escape_fall``: how much lower noise from here, then descent, ends.

    Noise of SIZES in turn, until ``budget`` evaluations over the training data are spent or one end
    is lower by CLEAR of ``scale``. What is found proves that better is reachable; finding nothing
    proves nothing, unless most trials end at the very loss of the start: ``escape_return``.
    """
    start = e.estimates["loss"].value
    room = budget / e.share
    spent, best, trial, back = 0.0, math.inf, 0, 0
    while spent + FIRST <= room and trial < MOST:
        length = SIZES[trial % len(SIZES)]
        e.tick(f"escape probe: trial {trial + 1}, noise {length:g}")
        if length < 1.0:
            begin = _pushed(e, length, 100 + trial)
        else:
            begin = fresh_point(e, length, 100 + trial)
        found = descend_from(e.objective, begin, evaluations=FIRST)
        spent += found.loss.cost
        if _worth_more(found, start, scale) and spent + MORE <= room:
            found = descend_from(e.objective, found.point, evaluations=MORE)
            spent += found.loss.cost
        trial += 1
        back += abs(found.loss.value - start) < SAME * scale
        if found.loss.value < best:
            best = found.loss.value
            e.estimates["escape_noise"] = Estimate(length, 0.0, "of a fresh weight")
            e.directions["escaped"] = found.point
        if start - best > CLEAR * scale:
            break
    e.estimates["escape_return"] = Estimate(back / max(1, trial), 0.0, "of the trials")
    e.estimates["escape_trials"] = Estimate(float(trial), 0.0, "trials")
    found = Estimate(start - best, 0.0, "loss", spent)
    if "escaped" in e.directions:
        found = population_fall(e, found, e.directions["escaped"])
    e.add_fall("escape_fall", found.value, found.error, found.cost * e.share)


def _worth_more(found: Descent, start: float, scale: float) -> bool:
    losses = found.losses
    if len(losses) < FIRST:  # converged
        return False
    falling = min(losses[: FIRST // 2]) - found.loss.value > 0.05 * scale
    return found.loss.value < start + 0.05 * scale or falling


def _pushed(e: Examination, length: float, purpose: int) -> Tensor:
    noise = torch.randn(e.point.shape, generator=e.generator(purpose), dtype=e.point.dtype)
    return e.point + length * fan_in_scales(e.task.model) * noise.to(e.point.device)


def fresh_point(e: Examination, length: float, purpose: int) -> Tensor:
    """Newly drawn weights, as each module's ``reset_parameters`` draws them, times ``length``.

    Parameters of modules without it are moved by ``length`` times their usual size.
    """
    model = copy.deepcopy(e.objective.placed.model)
    drawn: set[int] = set()
    seed = int(torch.randint(2**31, (), generator=e.generator(purpose)))
    with random_state(seed):
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            own = list(module.parameters())
            if callable(reset) and own and all(p.requires_grad for p in own):
                reset()
                drawn |= {id(p) for p in own}
    pushed = _pushed(e, length, purpose)
    pieces, begin = [], 0
    for p in model.parameters():
        if p.requires_grad:
            there = pushed[begin : begin + p.numel()]
            stretch = length if p.ndim > 1 else 1.0
            pieces.append(stretch * p.detach().reshape(-1) if id(p) in drawn else there)
            begin += p.numel()
    return torch.cat(pieces)
