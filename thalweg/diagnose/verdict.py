"""The main job: a Task, a factory of one, or a run folder goes in; a Finding comes out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes import RULES
from thalweg.diagnose.checks import MOST, PASSES, check_state, check_wiring
from thalweg.diagnose.examination import Examination
from thalweg.diagnose.finding import Finding, Mechanism
from thalweg.diagnose.signs import comes_down
from thalweg.diagnose.source import task_of
from thalweg.diagnose.vitals import take_vitals
from thalweg.errors import ModelError, UsageError
from thalweg.estimate import Estimate, Evidence
from thalweg.measure.fit import constant_loss, output_floor, overfit_one_batch
from thalweg.measure.layers import layers
from thalweg.measure.signal import label_signal, reachable_loss
from thalweg.task import Task

__all__ = ["diagnose", "judge"]

PROBE = 1000.0
"""Gradient evaluations that the escape probe may take beside the budget."""

FIRST = (Cause.NOT_FINITE, Cause.MISWIRED)
"""Causes that explain whatever else is seen, and so go before it."""

DECIDED = 0.5
"""A cause less probable than this is no verdict."""

CAUTIOUS = 0.78
"""No run that still comes down well is called stuck with more confidence than this."""

CAUSES_OF_STANDSTILL = (
    Cause.EDGE_OF_STABILITY,
    Cause.NOISE_FLOOR,
    Cause.SPIKES,
    Cause.SADDLE,
    Cause.PLATEAU,
    Cause.RAVINE,
    Cause.LOCAL_MINIMUM,
    Cause.OVERFITTING,
)
"""Those that a run which comes down is in doubt of; the others show in what it comes down from, or
how fast."""


def diagnose(
    source: Task | Callable[[], Task] | str | Path,
    *,
    task: Task | None = None,
    checkpoint: str | Path | None = None,
    budget: float = 300.0,
    share: float | None = None,
    probe: bool = True,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Finding:
    """Why a training is where it is: the cause, the evidence with its errors, the cures.

    Nothing of the user's is changed: measurements are made on copies.

    Args:
        source: a Task, at the state where its model stands; a factory that returns one; or the path
            of a run folder.
        task: the Task of a run folder, whose latest checkpoint is then examined. Without it the
            verdict rests on the history alone, and says so.
        checkpoint: weights to examine in place of the model's own: safetensors, or a state dict
            that torch loads with ``weights_only=True``.
        budget: gradient evaluations over the training data that may be spent.
        share: in place of ``budget``: a share of what the run itself computes in ``task.steps``
            steps, or has computed by its history.
        probe: whether, at an apparent minimum, noise and fresh weights are tried for a lower loss:
            up to 1000 evaluations more.
        seed: of every random draw: the same seed gives the same Finding.
        progress: called with a few words as each piece of work begins.

    Returns:
        The Finding; other causes that fit stand behind it, ranked.

    Raises:
        UsageError: an argument breaks a rule, or the task cannot be evaluated.
    """
    for argument, value in (("budget", budget), ("share", 1.0 if share is None else share)):
        if not (isinstance(value, int | float) and value > 0 and math.isfinite(value)):
            raise UsageError(f"{argument} must be a number above 0, not {value!r}")
    found = task_of(source, task=task, checkpoint=checkpoint)
    if not isinstance(found, Task):
        return judge(found.evidence, notes=found.notes, name=found.name)
    tick = progress or (lambda words: None)
    tick("wiring")
    wiring = check_wiring(found)
    fatal = [m for m in wiring if m.explains is not None]
    try:
        examination = Examination.of(found, budget=budget, share=share, seed=seed, tick=tick)
    except UsageError:
        if not fatal:
            raise
        evidence = Evidence(_faults(wiring))
        return judge(evidence, wiring, name=found.name)
    examination.spent += PASSES * min(1.0, MOST / examination.population)  # on the wiring
    try:
        return _examined(examination, wiring, probe)
    except ModelError:
        if not fatal:
            raise
        return judge(Evidence(_faults(wiring)), wiring, name=found.name, cost=examination.spent)


def judge(
    evidence: Evidence,
    mechanisms: tuple[Mechanism, ...] = (),
    *,
    notes: tuple[str, ...] = (),
    name: str = "task",
    cost: float | None = None,
) -> Finding:
    """The verdict on Evidence: every rule is asked, the most probable cause is the first.

    Below an even chance, or where two causes are about as probable, the verdict is
    ``undetermined`` and the causes stand behind it.
    """
    asked = (rule(evidence) for rule in RULES)
    found = sorted(
        (f for f in asked if f is not None), key=lambda f: (f.cause not in FIRST, -f.confidence)
    )
    explained = {m.explains: m for m in reversed(mechanisms) if m.explains is not None}
    found = [
        replace(f, sentence=explained[f.cause].sentence) if f.cause in explained else f
        for f in found
    ]
    sure = found[0].confidence if found else 0.0
    if len(found) > 1 and found[0].cause not in FIRST:
        # A rival takes from the confidence what the two share.
        doubt = found[1].confidence / (sure + found[1].confidence)
        sure *= min(1.0, 1.25 * (1 - doubt))
    if found and found[0].cause in CAUSES_OF_STANDSTILL and comes_down(evidence) > 0.5:
        sure = min(sure, CAUTIOUS)
    if found and sure >= DECIDED:
        first, rest = replace(found[0], confidence=sure), found[1:]
    else:
        names = " or ".join(f.cause.value.replace("_", " ") for f in found[:2])
        sentence = "The evidence does not decide" + (f": it may be {names}." if names else ".")
        likely = found[0].confidence if found else 0.0
        cures = tuple(dict.fromkeys(cure for f in found[:2] for cure in f.cures))
        first = Finding(Cause.UNDETERMINED, sentence, min(1 - likely, DECIDED), cures=cures)
        rest = found
    return replace(
        first,
        evidence=evidence,
        mechanisms=mechanisms,
        findings=tuple(rest),
        cost=evidence.cost if cost is None else cost,
        notes=notes,
        name=name,
    )


def _examined(e: Examination, wiring: tuple[Mechanism, ...], probe: bool) -> Finding:
    e.tick("layers and labels")
    for name, estimate in _faults(wiring).items():
        e.estimates[name] = estimate
    constant = constant_loss(e.objective)
    report = layers(e.objective, e.point)
    for name, estimate in report.estimates().items():
        e.add(name, estimate)
    signal = label_signal(e.objective)
    e.add("label_signal", signal)
    reachable = reachable_loss(constant, output_floor(e.objective), signal)
    if math.isfinite(reachable.value):
        e.add("reachable_loss", reachable)
    lent = e.objective.placed.restore
    one_batch: Mapping[str, Estimate] = {}
    if not any(m.explains for m in wiring):
        one_batch = overfit_one_batch(e.task, seed=e.seed, lent=lent)
        for name, estimate in one_batch.items():
            e.add(name, estimate, charge=False)
            e.spent += estimate.cost
    loud = any(m.explains is Cause.NOT_FINITE for m in wiring)
    if not loud:
        take_vitals(e, constant=constant, probe=PROBE if probe else 0.0)
    if not loud and not math.isfinite(e.estimates["loss"].value):
        e.estimates["not_finite"] = Estimate(1.0)
    state = ()
    if "plain_loss" in e.estimates:
        plain = e.estimates["plain_loss"]
        state = check_state(
            e.task, e.objective, report, constant, loss=plain, signal=signal, one_batch=one_batch
        )
    finding = judge(
        e.evidence(),
        wiring + state,
        notes=tuple(e.notes),
        name=e.task.name,
        cost=e.spent,
    )
    return finding


def _faults(wiring: tuple[Mechanism, ...]) -> dict[str, Estimate]:
    """How many mechanisms explain the state by themselves, by the cause that they explain."""
    return {
        "wiring_faults": Estimate(float(sum(m.explains is Cause.MISWIRED for m in wiring))),
        "not_finite": Estimate(float(sum(m.explains is Cause.NOT_FINITE for m in wiring))),
        "data_faults": Estimate(float(sum(m.explains is Cause.CANNOT_FIT for m in wiring))),
    }
