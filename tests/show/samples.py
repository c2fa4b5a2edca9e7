"""Findings and races made by hand, such as a diagnosis would return."""

import math
import random
from dataclasses import replace

from thalweg.diagnose.cause import Cause
from thalweg.diagnose.cures import Cure
from thalweg.diagnose.finding import Finding, Mechanism
from thalweg.diagnose.race import Arm, Race
from thalweg.estimate import Curve, Estimate, Evidence

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> & \x1b[31mred'

NUDGE = Cure(
    "nudge along negative curvature",
    "Moves the weights a little along the direction in which the loss curves down; costs nothing.",
    "direction, _ = tw.measure.most_negative_curvature(task)\n"
    "with torch.no_grad():\n"
    "    for weight, step in zip(model.parameters(), direction):\n"
    "        weight.add_(step, alpha=0.1)",
)
LOWER = Cure(
    "learning_rate x0.1",
    "Lets the run settle below the noise of its batches; progress per step falls as well.",
    'for group in optimizer.param_groups:\n    group["lr"] *= 0.1',
)
ADAM = Cure(
    "Adam",
    "Scales each weight's step by its own gradients.",
    "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
)


def history(length: int = 300, seed: int = 0) -> Curve:
    draw = random.Random(seed)
    losses = tuple(
        2.3026 - 0.004 * (1 - math.exp(-k / 40)) + 0.0008 * draw.gauss(0, 1) for k in range(length)
    )
    return Curve(tuple(map(float, range(length))), losses, "step", "training loss")


def saddle() -> Finding:
    ahead = tuple(float(k) for k in range(0, 101, 5))
    flat = tuple(2.2986 - 1e-6 * k for k in ahead)
    line = tuple(10 ** (-4 + 0.25 * k) for k in range(17))
    both = tuple(0.05 * k for k in range(-20, 21))
    tops = (0.412, 0.288, 0.17, 0.0931, 0.051, 0.0302, 0.0119, 0.0077, 0.0041, 0.0018)
    evidence = Evidence(
        {
            "loss": Estimate(2.2986, 0.0004, "loss", 1),
            "test_loss": Estimate(2.3011, 0.0012, "loss", 0.3),
            "constant_loss": Estimate(2.3024, 0.0, "loss"),
            "accuracy": Estimate(0.114, 0.009),
            "gradient_norm": Estimate(0.00187, 0.00009, "loss / θ", 1),
            "stability": Estimate(0.0206, 0.0004, cost=24),
            "step": Estimate(math.nan, 0.02),
            "noise_share": Estimate(0.34, 0.18, cost=6),
            "gradient_signal": Estimate(0.83, 0.31, cost=2),
            "noise_trace": Estimate(4.2e-6, 1.1e-6),
            "gradient_drop": Estimate(0.0004, 0.00002, "of the range", cost=8),
            "curvature_drop": Estimate(0.372, 0.011, "of the range", cost=10),
            "negative_curvature": Estimate(-0.214, 0.006, cost=0),
            "conditioning": Estimate(38000.0, 1200.0),
            "top_eigenvalue": Estimate(tops[0], 0.0004, "loss / θ²"),
            "bottom_eigenvalue": Estimate(-0.0882, 0.0021, "loss / θ²"),
            **{
                f"eigenvalue_{rank}": Estimate(value, 0.0004 * rank, "loss / θ²")
                for rank, value in enumerate(tops, 1)
            },
            "unchanged_fall": Estimate(0.0003, 0.0001, "of the range", cost=100),
            "lower_rate_fall": Estimate(-0.0002, 0.00008, "of the range", cost=100),
            "raised_rate_fall": Estimate(0.0121, 0.0049, "of the range", cost=100),
            "nudge_fall": Estimate(0.61, 0.02, "of the range", cost=60),
            "one_batch_fall": Estimate(0.97, 0.01, cost=5),
            "dead_share": Estimate(0.0, 0.0),
            "wiring_faults": Estimate(0.0),
            "range": Estimate(2.3, 0.0, "loss"),
        },
        {
            "history": history(),
            "test_history": history(seed=5),
            "along_gradient": Curve(
                line,
                (
                    *(2.2986 - 4e-4 * math.exp(-((math.log10(t) - 0.2) ** 2)) for t in line[:14]),
                    2.41,
                    3.8,
                    19.0,
                ),
                "distance along −g",
                "training loss",
            ),
            "along_negative_curvature": Curve(
                both,
                tuple(2.2986 - 0.37 * math.sin(abs(t) * 2) ** 2 + 0.6 * t**4 for t in both),
                "distance along the most negative curvature",
                "training loss",
            ),
            "eigenvalues": Curve(tuple(map(float, range(1, 11))), tops, "rank", "eigenvalue"),
            "continuation_unchanged": Curve(ahead, flat, "step", "training loss"),
            "continuation_lower_rate": Curve(
                ahead, tuple(2.2986 - 1e-7 * k for k in ahead), "step", "training loss"
            ),
            "continuation_raised_rate": Curve(
                ahead, tuple(2.2986 - 1e-5 * k for k in ahead), "step", "training loss"
            ),
        },
    )
    return Finding(
        Cause.SADDLE,
        "The loss falls 930 times further along negative curvature (0.372 ± 0.011 of what is left) "
        "than along the gradient, and a nudge followed by descent leaves.",
        0.93,
        ("curvature_drop", "gradient_drop", "negative_curvature", "nudge_fall"),
        evidence,
        (
            Mechanism(
                "constant output",
                "The model answers almost the same for every input: its loss is ln 10 within 0.2%.",
                "torch.nn.init.kaiming_normal_(layer.weight)",
            ),
        ),
        (
            Finding(Cause.PLATEAU, "The gradient is tiny in every direction that was tried.", 0.21),
            Finding(Cause.STEP_TOO_SMALL, "Stability is far below its limit.", 0.08),
        ),
        (NUDGE, ADAM, LOWER),
        216.4,
        (
            "Curvature was measured on a seeded subsample of 1 024 of 1 437 examples.",
            "The bottom eigenvalue stands 42 residual bounds below 0.",
        ),
        "digits, tiny start",
    )


def not_finite() -> Finding:
    seen = Curve(
        tuple(map(float, range(8))),
        (2.3, 2.1, 2.6, 9.0, 310.0, math.inf, math.nan, math.nan),
        "step",
        "training loss",
    )
    evidence = Evidence(
        {
            "loss": Estimate(math.nan, 0.0, "loss", 0.3),
            "gradient_norm": Estimate(math.inf, 0.0, "loss / θ", 1),
            "stability": Estimate(math.nan, math.nan),
        },
        {"history": seen},
    )
    return Finding(
        Cause.NOT_FINITE,
        "The training loss is not a number since step 6.",
        1.0,
        ("loss",),
        evidence,
        (
            Mechanism(
                "data",
                "3 of 512 rows of the inputs hold NaN.",
                "x = x[x.isfinite().all(1)]",
                Cause.NOT_FINITE,
            ),
        ),
        cures=(LOWER,),
        cost=1.33,
    )


def undetermined() -> Finding:
    return Finding(
        Cause.UNDETERMINED,
        "The evidence does not decide: it may be plateau or saddle.",
        0.96,
        evidence=Evidence({"loss": Estimate(2.3, 0.1, "loss", 1)}),
        findings=(
            Finding(Cause.PLATEAU, "Flat.", 0.41),
            Finding(Cause.SADDLE, "Curved.", 0.33),
            Finding(Cause.RAVINE, "Steep.", 0.06),
        ),
        cost=216.0,
    )


def bare() -> Finding:
    return Finding(Cause.UNDETERMINED, "The evidence does not decide.", 0.3)


def hostile() -> Finding:
    return Finding(
        Cause.RAVINE,
        HOSTILE,
        0.7,
        (HOSTILE,),
        Evidence(
            {HOSTILE: Estimate(1.25, 0.5, HOSTILE), "loss": Estimate(1.0, 0.1, HOSTILE)},
            {"history": Curve((0.0, 1.0), (2.0, 1.0), HOSTILE, HOSTILE)},
        ),
        (Mechanism(HOSTILE, HOSTILE, HOSTILE),),
        (Finding(Cause.SADDLE, HOSTILE, 0.1),),
        (Cure(HOSTILE, HOSTILE, HOSTILE),),
        10.0,
        (HOSTILE,),
        HOSTILE,
    )


def _arm(name: str, code: str, rate: float, gain: Estimate, outcome: str, ends: int = 41) -> Arm:
    at = tuple(5.0 * k for k in range(41))
    rows = []
    for seed in range(3):
        draw = random.Random(seed)
        row = [2.3 * math.exp(-rate * t * (1 + 0.1 * seed)) + 0.004 * draw.gauss(0, 1) for t in at]
        rows.append(tuple(v if k < ends else math.nan for k, v in enumerate(row)))
    spread = (gain.value - 2 * gain.error, gain.value + 2 * gain.error)
    return Arm(name, code, at, tuple(rows), (), gain, spread, outcome, spread)


def race() -> Race:
    arms = (
        _arm(NUDGE.name, NUDGE.code, 0.012, Estimate(1.982, 0.041, "loss", 200), "helps"),
        _arm(ADAM.name, ADAM.code, 0.004, Estimate(1.21, 0.11, "loss", 200), "helps"),
        _arm("unchanged", "", 0.00002, Estimate(0.0, 0.0, "loss", 200), "no difference"),
        _arm(
            LOWER.name, LOWER.code, 0.00001, Estimate(-0.002, 0.004, "loss", 200), "no difference"
        ),
        _arm(
            "learning_rate x30",
            "...",
            0.0001,
            Estimate(math.nan, math.nan, "loss", 60),
            "diverged",
            9,
        ),
    )
    return Race(
        arms,
        NUDGE.name,
        "The nudge along negative curvature ends 1.98 ± 0.04 lower than the unchanged run after 200 "
        "gradient evaluations, on every one of 3 seeds.",
        (0, 1, 2),
        2860.0,
        name="digits, tiny start",
    )


def race_of_twins() -> Race:
    """Full batches and a cure without chance: every seed ends alike."""
    arms = tuple(
        replace(arm, losses=arm.losses[:1] * 3, gain=Estimate(2.07, 0.0), spread=(2.07, 2.07))
        for arm in race().arms[:3]
    )
    return replace(race(), arms=arms)


def race_without_winner() -> Race:
    return Race(race().arms[2:], None, "None of the 2 cures beats the unchanged run.", (0,), 500.0)
