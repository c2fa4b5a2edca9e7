"""What is seen on the cadence: against sums over the whole vectors, in every kind of loop."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.record.folder import RunFolder
from thalweg.record.order import Order
from thalweg.record.recorder import Recorder
from thalweg.record.signal import gradient_signal
from thalweg.record.watch import watch
from thalweg.trajectory import Column, Trajectory

SCRIPT = Path(__file__).with_name("distributed_training.py")
ROOT = Path(__file__).resolve().parents[2]
ALWAYS = math.inf

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(4))
Y = X.prod(1, keepdim=True)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.detach().flatten().double() for t in tensors])


def loss_of(model: nn.Module) -> Tensor:
    rows = torch.randint(64, (16,))
    return nn.functional.mse_loss(model(X[rows]), Y[rows])


def plain(model: nn.Module, optimizer: Any, tell: Callable[[Tensor], None], steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        tell(loss)


def test_numbers_of_pairs_are_those_of_the_whole_vectors(tmp_path: Path) -> None:
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.02}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    weights, gradients = [flat(model.parameters())], [torch.zeros(41)]
    layers = [flat(model[3].parameters())]
    with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:

        def tell(loss: Tensor) -> None:
            weights.append(flat(model.parameters()))
            layers.append(flat(model[3].parameters()))
            gradients.append(flat(p.grad for p in model.parameters()))
            recorder.step(loss)

        plain(model, optimizer, tell, 40)
        seen = recorder.trajectory
    losses = seen["loss"].values
    checked = 0
    for step, product in seen["gradient_product"]:
        assert product == pytest.approx(float(gradients[step - 1] @ gradients[step]), rel=1e-4)
        checked += 1
    for name, expected in {
        "update_norm": [0.0, *(float((b - a).norm()) for a, b in pairwise(weights))],
        "parameter_norm": [float(w.norm()) for w in weights],
        "update_ratio/3": [
            0.0,
            *(float((b - a).norm() / b.norm()) for a, b in pairwise(layers)),
        ],
    }.items():
        for step, value in seen[name]:
            assert value == pytest.approx(expected[step], rel=1e-5), name
            checked += 1
    assert checked > 30
    kept = RunFolder.open(tmp_path / "run").sketches()
    assert kept is not None and kept.sketch.exact and len(kept) > 8
    assert kept.steps[0] == 0 and kept.steps[-1] == 40
    for row, step in enumerate(kept.steps):
        torch.testing.assert_close(kept.parameters[row].double(), weights[step])
        if step < 40:
            torch.testing.assert_close(kept.gradients[row].double(), gradients[step + 1])
            assert kept.losses[row] == losses[step]
    assert kept.gradients[-1].isnan().all() and math.isnan(kept.losses[-1])
    assert list(kept.weights(0)) == [name for name, _ in model.named_parameters()]


def test_a_large_model_is_sketched(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(400, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    points = [flat(model.parameters())]
    with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:
        for _ in range(12):
            optimizer.zero_grad()
            loss = model(torch.randn(5, 400)).square().mean()
            loss.backward()
            optimizer.step()
            points.append(flat(model.parameters()))
            recorder.step(loss)
    kept = RunFolder.open(tmp_path / "run").sketches()
    assert kept is not None and not kept.sketch.exact and kept.parameters.shape[1] == 4093
    for row, step in enumerate(kept.steps):
        distance = kept.sketch.distance(kept.parameters[0], kept.parameters[row])
        assert abs(distance.value - float((points[step] - points[0]).norm())) <= 4 * distance.error


def test_a_small_model_of_double_precision_is_kept_to_the_bit(tmp_path: Path) -> None:
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    points, slopes = [flat(model.parameters())], []
    with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:
        for _ in range(20):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X.double()), Y.double())
            loss.backward()
            slopes.append(flat(p.grad for p in model.parameters()))
            optimizer.step()
            points.append(flat(model.parameters()))
            recorder.step(loss)
    kept = RunFolder.open(tmp_path / "run").sketches()
    assert kept is not None and len(kept) > 5
    for row, step in enumerate(kept.steps):
        assert torch.equal(kept.parameters[row], points[step])
        if not kept.gradients[row].isnan().any():
            assert torch.equal(kept.gradients[row], slopes[step])


def accumulated(model: nn.Module, optimizer: Any, tell: Any, steps: int) -> None:
    for step in range(steps):
        loss = loss_of(model)
        (loss / 4).backward()
        if step % 4 == 3:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
        tell(loss)


def scaled(model: nn.Module, optimizer: Any, tell: Any, steps: int) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        tell(loss)


def scheduled(model: nn.Module, optimizer: Any, tell: Any, steps: int) -> None:
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def step(loss: Tensor) -> None:
        scheduler.step()
        tell(loss)

    plain(model, optimizer, step, steps)


def closed(model: nn.Module, optimizer: Any, tell: Any, steps: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(steps):
        tell(optimizer.step(closure))


def compiled(model: nn.Module, optimizer: Any, tell: Any, steps: int) -> None:
    plain(torch.compile(model, backend="eager"), optimizer, tell, steps)  # type: ignore[arg-type]


SGD, FUSED = torch.optim.SGD, "fused"


@pytest.mark.parametrize(
    ("loop", "kind"),
    [
        (plain, torch.optim.AdamW),
        (accumulated, SGD),
        (scaled, SGD),
        (scaled, FUSED),
        (scheduled, SGD),
        (closed, torch.optim.LBFGS),
        (compiled, SGD),
    ],
)
def test_every_kind_of_loop_keeps_its_bits_and_is_seen(
    tmp_path: Path, loop: Any, kind: Any
) -> None:
    def trained(folder: Path | None) -> tuple[Tensor, Recorder | None, list[float]]:
        model = network()
        if kind == FUSED:
            optimizer: Any = SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
        else:
            options = {"momentum": 0.9} if kind is SGD else {}
            optimizer = kind(model.parameters(), lr=0.05, **options)
        norms: list[float] = []

        def norm(*_: Any) -> None:
            scale = float(getattr(optimizer, "grad_scale", None) or 1.0)
            norms.append(float(flat(p.grad for p in model.parameters()).norm()) / scale)

        # Before its step a fused optimizer's gradients are still scaled, and after it no longer.
        fused = kind == FUSED
        (optimizer.register_step_pre_hook if fused else optimizer.register_step_post_hook)(norm)
        if folder is None:
            loop(model, optimizer, lambda loss: None, 48)
            return flat(model.parameters()), None, norms
        with watch(model, optimizer, folder=folder, overhead=ALWAYS) as recorder:
            loop(model, optimizer, recorder.step, 48)
        return flat(model.parameters()), recorder, norms

    expected, _, _ = trained(None)
    weights, recorder, norms = trained(tmp_path / "run")
    assert torch.equal(weights, expected) and recorder is not None
    seen = recorder.trajectory
    assert seen["loss"].steps.tolist() == list(range(1, 49))
    every = 4 if loop is accumulated else 1
    assert seen["gradient_norm"].steps.tolist() == list(range(every, 49, every))
    np.testing.assert_allclose(seen["gradient_norm"].values, norms, rtol=1e-4)
    assert len(seen["update_norm"]) and not seen["gradients_accumulate"].values.any()
    assert ("micro_batches" in seen) == (loop is accumulated)


def test_two_processes_train_and_rank_0_writes(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    digests = [d for rank in (0, 1) for d in (tmp_path / f"rank-{rank}").read_text().split()]
    assert len(digests) == 4 and len(set(digests)) == 1
    run = RunFolder.open(tmp_path / "run")
    assert run.metrics().steps == 12 and run.latest_checkpoint() == 12
    run.load_checkpoint(12, nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)))


@pytest.mark.parametrize("parts", [1, 8])
def test_the_signal_is_that_of_the_noise_put_in(parts: int) -> None:
    """g = ∇f + ω with ω known, once by consecutive gradients and once by micro-batches."""
    torch.manual_seed(2)
    dim, size, noise = 50, 1.0, 2.0  # ‖∇f‖² and tr Σ of one backward pass
    weight = nn.Parameter(torch.zeros(dim))
    model = nn.Module()
    model.weight = weight
    optimizer = torch.optim.SGD([weight], lr=0.0)
    slope = torch.randn(dim)
    slope *= math.sqrt(size) / slope.norm()
    with watch(model, optimizer, overhead=ALWAYS) as recorder:
        for _ in range(1500):
            optimizer.zero_grad()
            for _ in range(parts):
                (weight @ (slope + math.sqrt(noise / dim) * torch.randn(dim)) / parts).backward()
            optimizer.step()
            recorder.step(0.0)
    signal = gradient_signal(recorder.trajectory)
    truth = size / (noise / parts)
    assert 0 < signal.error < 0.2 * truth
    assert abs(signal.value - truth) < 3 * signal.error


def test_a_signal_that_was_not_seen_is_not_known() -> None:
    assert math.isnan(gradient_signal(Trajectory()).value)
    norms = Column(np.array([1, 2]), np.array([1.0, 1.0]))
    one = Trajectory(
        {"gradient_norm": norms, "gradient_product": Column(np.array([2]), np.array([0.5]))}
    )
    assert math.isnan(gradient_signal(one).value)


@pytest.mark.parametrize(
    ("calls", "step_first"),
    [
        ("USUSUS", False),
        ("SUSUSU", True),
        ("SSSUSSSSUS", False),
        ("SSSSUSSSSU", True),
        ("SSUSUS", False),
    ],
)
def test_the_order_of_the_loop_is_found_out(calls: str, step_first: bool) -> None:
    order = Order()
    for call in calls:
        if not order.settled:
            (order.stepped if call == "S" else order.updated)()
    assert order.settled and order.step_comes_first is step_first


def test_wrong_use_is_one_sentence(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="holds none of them"):
        watch(network(), optimizer)
    with pytest.raises(UsageError, match="must be 'log' or 'epoch', not 'often'"):
        watch(model, optimizer, checkpoints="often")
    with pytest.raises(UsageError, match="a loader that knows its length"):
        watch(model, optimizer, checkpoints="epoch")
    recorder = watch(model, optimizer, overhead=ALWAYS)
    with pytest.raises(UsageError, match="no other recorder"):
        watch(torch.compile(model, backend="eager"), optimizer)  # type: ignore[arg-type]
    model[0].weight.data = torch.zeros(8, 2)
    model[0].weight.grad = None
    with pytest.raises(UsageError, match=r"0\.weight went from \(8, 3\) to \(8, 2\)"):
        optimizer.step()
    recorder.end(at_a_step=False)


@pytest.mark.parametrize("steps", [3, 5, 6, 7])
@pytest.mark.parametrize("folder", [False, True])
def test_other_shapes_are_said_in_the_midst_of_a_pair_and_at_the_end(
    tmp_path: Path, steps: int, folder: bool
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = watch(model, optimizer, folder=tmp_path / "run" if folder else None, overhead=ALWAYS)
    plain(model, optimizer, recorder.step, steps)
    model[3].weight.data, model[3].weight.grad = torch.zeros(2, 8), torch.ones(2, 8)
    with pytest.raises(UsageError, match=r"3\.weight went from \(1, 8\) to \(2, 8\)"):
        optimizer.step()
    if folder:
        with pytest.raises(UsageError, match=r"3\.weight went from"):
            recorder.close()
        assert RunFolder.open(tmp_path / "run").metrics().steps == steps
    recorder.close()
    watch(model, optimizer).close()


def test_checkpoints_by_epoch(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=16)
    with watch(
        model, optimizer, loader, tmp_path / "run", overhead=ALWAYS, checkpoints="epoch"
    ) as recorder:
        plain(model, optimizer, recorder.step, 18)
    run = RunFolder.open(tmp_path / "run")
    assert run.checkpoints() == [0, 4, 8, 12, 16, 18]
    assert run.read_weights(8).keys() == model.state_dict().keys()
