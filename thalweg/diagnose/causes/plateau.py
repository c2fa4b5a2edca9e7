"""Nearly flat ground, far above what can be reached."""

from thalweg.diagnose import cures
from thalweg.diagnose import thresholds as t
from thalweg.diagnose.cause import Cause
from thalweg.diagnose.causes.judged import judged
from thalweg.diagnose.finding import Finding
from thalweg.diagnose.phrases import part, share
from thalweg.diagnose.signs import (
    better_known,
    blind,
    blocked,
    fits_poorly,
    flat,
    no_slope,
    pushed_out,
    settled,
)
from thalweg.estimate import Evidence

__all__ = ["plateau"]


def plateau(evidence: Evidence) -> Finding | None:
    """Still or without slope, with layers that let nothing through, and better is reachable.

    Or dead or saturated layers let not even one batch be learnt, whatever the loss still does.
    """
    probability = t.both(
        t.either(
            t.both(t.either(settled(evidence), no_slope(evidence)), flat(evidence)),
            t.both(settled(evidence), blind(evidence)),
            t.both(blocked(evidence), t.either(fits_poorly(evidence), settled(evidence))),
        ),
        t.opposite(pushed_out(evidence)),
        t.either(better_known(evidence), 0.9 * fits_poorly(evidence)),
    )
    dead, stuck = evidence.value("dead_share"), evidence.value("saturated_share")
    layers = []
    if dead > 0.3:
        layers.append(f"{share(dead)} of the units of a layer are dead")
    if stuck > 0.3:
        layers.append(f"{share(stuck)} of the units of a layer are saturated")
    if not layers:
        layers.append("the output hardly depends on the input")
    if blocked(evidence) > 0.5:
        still = (
            f"training on one small batch alone takes away "
            f"{share(evidence.value('one_batch_fall'))} of its loss, but "
            f"{share(evidence.value('one_batch_fresh_fall'))} from fresh weights"
        )
    elif no_slope(evidence) > 0.5:
        still = (
            f"a move as large as the whole initialisation would change the loss by "
            f"{part(evidence.value('gradient_reach'), of='its range')} along the slope"
        )
    else:
        still = "neither the run nor descent from here goes down"
    sentence = f"A plateau: {' and '.join(layers)}, and {still}."
    return judged(
        Cause.PLATEAU,
        probability,
        sentence,
        evidence,
        (
            "dead_share",
            "saturated_share",
            "output_spread",
            "gradient_reach",
            "gradient_drop",
            "escape_fall",
            "one_batch_fall",
            "one_batch_fresh_fall",
        ),
        (cures.restart(), cures.revive(), cures.perturb(1.0)),
    )
