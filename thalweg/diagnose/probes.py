"""Probes for a run that stands still: a nudge, a fresh start, and rounds of growing noise."""

import math

import torch
from torch import Tensor, nn

from thalweg.diagnose.examination import Examination, fan_in_scales
from thalweg.estimate import Estimate
from thalweg.measure.descent import Descent, descend_from

__all__ = ["escape", "nudge"]

NUDGES = (0.01, 0.1)
"""Lengths of a nudge in units of the usual scale of a fresh weight, 1/√fan_in."""

SIZES = (1.0, 3.0, 0.3, 1.0, 3.0, 0.1)
"""The same for the escape probe, in turn while its budget lasts: from 1 up every weight is drawn
anew, which tells most."""

SAME = 1e-3
"""Two descents whose losses differ by less than this share of the range ended alike."""

MOST = 24
"""Trials of the escape probe."""

DESCENT = 70
"""Gradient evaluations of each descent of the escape probe."""

CLEAR = 0.05
"""A fall of this share of the known range ends the escape probe: better is reachable."""


def nudge(e: Examination, *, evaluations: int = 25) -> None:
    """Add ``nudge_fall``: the fall that a small push and descent reach, the larger of two sizes.

    A strict saddle is left from any push, a minimum takes the descent back to where it was.
    """
    best: Descent | None = None
    spent = 0.0
    for length in NUDGES:
        found = _from(e, length, 10, evaluations)
        spent += found.loss.cost
        if best is None or found.loss.value < best.loss.value:
            best = found
            e.estimates["nudge_length"] = Estimate(length, 0.0, "of a fresh weight")
    assert best is not None
    start = e.estimates["loss"].value
    e.directions["nudged"] = best.point
    e.add_fall("nudge_fall", start - best.loss.value, best.loss.error, spent * e.share)


def escape(e: Examination, *, budget: float, scale: float) -> None:
    """Add ``escape_fall``: how much lower noise from here, then descent, ends.

    Noise of SIZES in turn, until ``budget`` evaluations over the training data are spent or one end
    is lower by CLEAR of ``scale``. What is found proves that better is reachable; finding nothing
    proves nothing, unless most trials end at the very loss of the start: ``escape_return``.
    """
    start = e.estimates["loss"].value
    room = budget / e.share
    evaluations = int(min(DESCENT, max(10.0, room / 4)))
    spent, best, trial, back = 0.0, math.inf, 0, 0
    while spent + evaluations <= room and trial < MOST:
        length = SIZES[trial % len(SIZES)]
        e.tick(f"escape probe: trial {trial + 1}, noise {length:g}")
        if length < 1.0:
            found = _from(e, length, 100 + trial, evaluations)
        else:
            fresh = _fresh_point(e, length, 100 + trial)
            found = descend_from(e.objective, fresh, evaluations=evaluations)
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
    e.add_fall("escape_fall", start - best, 0.0, spent * e.share)


def _from(e: Examination, length: float, purpose: int, evaluations: int) -> Descent:
    noise = torch.randn(e.point.shape, generator=e.generator(purpose), dtype=e.point.dtype)
    pushed = e.point + length * fan_in_scales(e.task.model) * noise.to(e.point.device)
    return descend_from(e.objective, pushed, evaluations=evaluations)


def _fresh_point(e: Examination, length: float, purpose: int) -> Tensor:
    """Newly drawn weights about a centre: Gaussian, ``length`` times the size of a fresh weight.

    The centre is 0 for matrices and biases, 1 for the weights of norms, and where it stands for
    vectors of any other use.
    """
    centres: dict[int, float] = {}
    for module in e.task.model.modules():
        for name, p in module.named_parameters(recurse=False):
            norm = isinstance(module, nn.LayerNorm | nn.GroupNorm) or hasattr(
                module, "running_mean"
            )
            if p.ndim > 1 or name.startswith("bias"):
                centres[id(p)] = 0.0
            elif norm and name == "weight":
                centres[id(p)] = 1.0
    noise = torch.randn(e.point.shape, generator=e.generator(purpose), dtype=e.point.dtype)
    drawn = length * fan_in_scales(e.task.model) * noise.to(e.point.device)
    begin = 0
    for p in e.task.model.parameters():
        if p.requires_grad:
            piece = slice(begin, begin + p.numel())
            drawn[piece] += centres.get(id(p), e.point[piece])
            begin += p.numel()
    return drawn
