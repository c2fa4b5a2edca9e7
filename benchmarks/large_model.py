"""Diagnose a model of 25 million parameters on the processor: `python -m benchmarks.large_model`.

A perceptron 1024-3300-3300-3300-100 on 20 000 made examples, batch 64, whose run is to take 2 000
steps; the diagnosis may spend a tenth of what the run computes. It says what it took, in seconds and
in memory, and what it found. `--model resnet` takes a ResNet-50 for small images in its place.
"""

import argparse
import resource
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

import thalweg
from benchmarks._results import caption, environment, keep, one_thread, timed

SHARE = 0.1
STEPS = 2000
BATCH = 64
CLASSES = 100


def perceptron() -> nn.Module:
    """25.5 million parameters."""
    return nn.Sequential(
        nn.Linear(1024, 3300),
        nn.ReLU(),
        nn.Linear(3300, 3300),
        nn.ReLU(),
        nn.Linear(3300, 3300),
        nn.ReLU(),
        nn.Linear(3300, CLASSES),
    )


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = channels == out and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet() -> nn.Module:
    """ResNet-50 with a stem for small images: 23.7 million parameters."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 32, 32)), nn.Conv2d(1, 64, 3, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(64), nn.ReLU()]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


MODELS = {"perceptron": perceptron, "resnet": resnet}


def made(examples: int) -> tuple[Tensor, Tensor]:
    """Classes that overlap: a centre each in 1 024 dimensions, and noise."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, 1024, generator=generator)
    targets = torch.randint(CLASSES, (examples,), generator=generator)
    noise = torch.randn(examples, 1024, generator=generator)
    return 0.3 * centres[targets] + noise, targets


def peak() -> float:
    """The most memory that this process ever held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def run(name: str, quick: bool) -> dict[str, Any]:
    """Train a little, then diagnose."""
    torch.manual_seed(0)
    model = MODELS[name]()
    data = made(4000 if quick else 20000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    history = []
    inputs, targets = data
    for _ in range(5 if quick else 60):
        batch = torch.randint(len(inputs), (BATCH,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    model.zero_grad(set_to_none=True)
    batch = slice(0, BATCH)
    steps = []
    for _ in range(3):
        took, _ = timed(
            lambda: nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
        )
        steps.append(took.processor)
    model.zero_grad(set_to_none=True)
    task = thalweg.Task(
        model=model,
        loss=nn.functional.cross_entropy,
        train=data,
        optimizer=optimizer,
        batch_size=BATCH,
        history=history,
        steps=STEPS,
    )
    marks = [("preparation", time.perf_counter(), peak())]
    before = peak()
    took, finding = timed(
        lambda: thalweg.diagnose(
            task,
            share=SHARE,
            probe=False,
            progress=lambda words: marks.append((words, time.perf_counter(), peak())),
        )
    )
    marks.append(("", time.perf_counter(), peak()))
    run_seconds = STEPS * min(steps)
    phases = {
        name: {"seconds": round(end - begin, 2), "peak_gb": round(most, 3)}
        for (name, begin, _), (_, end, most) in zip(marks, marks[1:])  # noqa: RUF007
    }
    return {
        "what": f"thalweg.diagnose, {name}, {len(inputs)} made examples, batch {BATCH}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "share": SHARE,
        "steps": STEPS,
        "seconds_a_step": min(steps),
        "share_of_the_run": took.processor / run_seconds,
        "seconds": took.wall,
        "processor_seconds": took.processor,
        "evaluations": finding.cost,
        "budget": SHARE * STEPS * BATCH / len(inputs),
        "peak_gb": peak(),
        "peak_before_gb": before,
        "parameters_gb": 4e-9 * sum(p.numel() for p in model.parameters()),
        "cause": finding.cause.value,
        "confidence": finding.confidence,
        "sentence": finding.sentence,
        "phases": phases,
        "environment": environment(),
    }


HEAD = (
    "| model | parameters | budget (evaluations) | spent | processor time | of the run's | peak memory "
    "| before it | verdict |\n|---|---|---|---|---|---|---|---|---|"
)


def row(name: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    return (
        f"| {name} | {result['parameters'] / 1e6:.1f} million | {result['budget']:.2f} "
        f"| {result['evaluations']:.2f} | {result['processor_seconds']:.0f} s "
        f"| {100 * result['share_of_the_run']:.0f}% | {result['peak_gb']:.2f} GB "
        f"| {result['peak_before_gb']:.2f} GB | {result['cause'].replace('_', ' ')}, "
        f"confidence {result['confidence']:.2f} |"
    )


def main() -> int:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer examples; nothing is kept")
    parser.add_argument("--model", choices=MODELS, default="perceptron")
    chosen = parser.parse_args()
    with one_thread():
        result = run(chosen.model, chosen.quick)
    for phase, spent in result["phases"].items():
        print(f"    {phase:40} {spent['seconds']:7.2f} s, peak so far {spent['peak_gb']:.2f} GB")
    table = f"{HEAD}\n{row(chosen.model, result)}"
    print(f"{table}\n{result['sentence']}")
    if not chosen.quick and chosen.model == "perceptron":
        keep("large_model", result, f"{table}\n\n{caption(result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
