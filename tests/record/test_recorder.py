"""watch: the training stays the same bits, and what was seen of it is true."""

import copy
import gc
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg.errors import FolderError, ModelError, UsageError
from thalweg.record import recorder as recorder_module
from thalweg.record import saving
from thalweg.record.folder import RunFolder
from thalweg.record.pace import Pace
from thalweg.record.recorder import Recorder
from thalweg.record.watch import watch
from thalweg.trajectory import Trajectory

SCRIPT = Path(__file__).with_name("training_script.py")
ROOT = Path(__file__).resolve().parents[2]
ALWAYS = math.inf
"""An overhead that looks at every pair of steps."""

X = torch.linspace(-1, 1, 60).reshape(20, 3)
Y = X.prod(1, keepdim=True)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    recorder: Recorder | None = None,
    *,
    zero: bool = True,
) -> list[float]:
    losses = []
    for _ in range(steps):
        if zero:
            optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if recorder is not None:
            recorder.step(loss)
    return losses


@pytest.fixture
def model() -> nn.Sequential:
    return network()


@pytest.fixture
def optimizer(model: nn.Sequential) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("overhead", [0.0, 0.05, ALWAYS])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_training_is_bit_for_bit_the_same(
    tmp_path: Path, overhead: float, kind: type[torch.optim.Optimizer]
) -> None:
    def trained(folder: Path | None) -> tuple[list[Tensor], Tensor]:
        model = network()
        optimizer = kind(model.parameters(), lr=0.05)
        generator = torch.Generator().manual_seed(1)
        loader = DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True, generator=generator)
        recorder = None
        if folder is not None:
            recorder = watch(model, optimizer, loader, folder, overhead=overhead)
        for _ in range(6):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                if recorder is not None:
                    recorder.step(loss)
        if recorder is not None:
            recorder.close()
        return [value.clone() for value in model.state_dict().values()], torch.rand(3)

    plain, drawn = trained(None)
    seen, drawn_too = trained(tmp_path / "run")
    assert torch.equal(drawn, drawn_too)
    assert all(torch.equal(one, two) for one, two in zip(plain, seen))
    run = RunFolder.open(tmp_path / "run")
    assert run.facts["examples"] == 20 and run.facts["batch_size"] == 6
    assert run.metrics().steps == run.latest_checkpoint() == 24


def test_losses_and_norms_are_those_of_the_loop(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    norms: list[float] = []
    optimizer.register_step_post_hook(
        lambda *_: norms.append(
            float(
                torch.cat(
                    [p.grad.flatten() for p in model.parameters() if p.grad is not None]
                ).norm()
            )
        )
    )
    with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:
        losses = train(model, optimizer, 300, recorder)
        inside = recorder.trajectory
    assert inside["loss"].steps.tolist() == list(range(1, 301))
    np.testing.assert_array_equal(inside["loss"].values, losses)
    np.testing.assert_array_equal(inside["learning_rate"].values, [0.1] * 300)
    assert inside["gradient_norm"].steps.tolist() == list(range(1, 301))
    np.testing.assert_allclose(inside["gradient_norm"].values, norms, rtol=1e-6)
    assert recorder.trajectory == inside
    on_disk = RunFolder.open(tmp_path / "run").metrics()
    for name, column in inside.columns.items():
        assert on_disk[name] == column
    assert not on_disk["gradients_accumulate"].values.any()
    doubling = [2**k for k in range(9)]
    assert RunFolder.open(tmp_path / "run").checkpoints() == [0, *doubling, 300]


def test_without_a_budget_only_losses_are_seen(
    model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with watch(model, optimizer, overhead=0.0) as recorder:
        train(model, optimizer, 5, recorder)
    assert sorted(recorder.trajectory.columns) == ["learning_rate", "loss"]
    assert recorder.folder is None


def test_a_loss_that_is_not_finite_stays_so(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:
        for loss in (1.0, torch.tensor(math.nan), np.float32(math.inf), torch.tensor([2])):
            recorder.step(loss)  # type: ignore[arg-type]
    for seen in (recorder.trajectory, RunFolder.open(tmp_path / "run").metrics()):
        np.testing.assert_array_equal(seen["loss"].values, [1.0, math.nan, math.inf, 2.0])


@pytest.mark.parametrize("step_last", [True, False])
@pytest.mark.parametrize("as_tensor", [True, False])
def test_the_rate_is_the_one_that_was_used(
    model: nn.Sequential, step_last: bool, as_tensor: bool
) -> None:
    rate = torch.tensor(0.1) if as_tensor else 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, capturable=False)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with watch(model, optimizer, overhead=ALWAYS) as recorder:
        for _ in range(4):
            optimizer.zero_grad()
            loss = model(X).square().mean()
            loss.backward()
            if not step_last:
                recorder.step(loss)
            optimizer.step()
            scheduler.step()
            if step_last:
                recorder.step(loss)
        seen = recorder.trajectory
    np.testing.assert_allclose(seen["learning_rate"].values, [0.1, 0.05, 0.025, 0.0125], rtol=1e-6)
    assert seen["gradient_norm"].steps.tolist() == [1, 2, 3, 4]


Loop = Callable[[nn.Module, torch.optim.Optimizer], Iterator[Tensor]]


def loss_of(model: nn.Module) -> Tensor:
    return nn.functional.mse_loss(model(X), Y)


def never_zeroed(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        yield loss


def never_zeroed_with_micro_batches(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[Tensor]:
    while True:
        for _ in range(3):
            loss = loss_of(model)
            loss.backward()
        optimizer.step()
        yield loss


def another_models_gradients_zeroed(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[Tensor]:
    other = torch.optim.SGD(network().parameters())
    for loss in never_zeroed(model, optimizer):
        other.zero_grad()
        yield loss


def never_zeroed_but_clipped(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[Tensor]:
    while True:
        loss = loss_of(model)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        yield loss


def zeroed_first(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        yield loss


def zeroed_after_the_forward_pass(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[Tensor]:
    while True:
        loss = loss_of(model)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        yield loss


def zeroed_last(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        yield loss


def accumulated_on_purpose(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    count = 0
    while True:
        loss = loss_of(model) / 4
        loss.backward()
        count += 1
        if count % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        yield loss


def adversarial(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """The generator's loss goes back through the discriminator; its gradients are zeroed later."""
    generator = nn.Linear(3, 3)
    other = torch.optim.SGD(generator.parameters(), lr=0.01)
    while True:
        other.zero_grad()
        model(generator(X)).mean().backward()
        other.step()
        optimizer.zero_grad()
        loss_of(model).backward()
        loss = -model(generator(X).detach()).mean()
        loss.backward()
        optimizer.step()
        yield loss


def gradients_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        loss = loss_of(model)
        for p, slope in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters()))
        ):
            p.grad = slope
        optimizer.step()
        yield loss


def gradients_decayed(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(0.9)
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        yield loss


def by_closure(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return float(loss.detach())

    while True:
        yield torch.tensor(optimizer.step(closure))


def no_gradient_at_all(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    while True:
        loss = 0 * loss_of(model)
        loss.backward()
        optimizer.step()
        yield loss


@pytest.mark.parametrize(
    ("loop", "piles_up"),
    [
        (never_zeroed, True),
        (never_zeroed_with_micro_batches, True),
        (never_zeroed_but_clipped, True),
        (another_models_gradients_zeroed, True),
        (zeroed_first, False),
        (zeroed_after_the_forward_pass, False),
        (zeroed_last, False),
        (accumulated_on_purpose, False),
        (adversarial, False),
        (gradients_by_hand, False),
        (gradients_decayed, False),
        (by_closure, False),
        (no_gradient_at_all, False),
    ],
)
def test_gradients_that_pile_up_are_told_from_those_that_do_so_on_purpose(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, loop: Loop, piles_up: bool
) -> None:
    with watch(model, optimizer, overhead=ALWAYS) as recorder:
        for loss, _ in zip(loop(model, optimizer), range(16)):
            recorder.step(loss)
    told = recorder.trajectory["gradients_accumulate"].values
    if piles_up:
        assert len(told) >= 4 and told.all()
    else:
        assert not told.any()
    unseen = (gradients_by_hand, no_gradient_at_all)  # nothing is added to, or nothing there
    assert bool(len(told)) == (loop not in unseen)
    for parameter in model.parameters():
        assert not parameter._backward_hooks and not parameter._post_accumulate_grad_hooks


def test_a_frozen_or_unused_parameter_is_no_hindrance(model: nn.Sequential) -> None:
    model[3].bias.requires_grad_(False)
    unused = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([*model.parameters(), unused], lr=0.01)
    with watch(model, optimizer, overhead=ALWAYS) as recorder:
        train(model, optimizer, 6, recorder, zero=False)
    assert recorder.trajectory["gradients_accumulate"].values.all()


def test_copies_of_what_is_watched_are_not_watched(
    model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with watch(model, optimizer, overhead=ALWAYS) as recorder:
        train(model, optimizer, 1, recorder)  # between the steps of a pair
        memo: dict[int, object] = {}
        twin, twin_optimizer = copy.deepcopy(model, memo), copy.deepcopy(optimizer, memo)
        train(twin, twin_optimizer, 5)
        assert recorder.trajectory.steps == 1
        watch(twin, twin_optimizer).close()


def test_a_watched_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    def loop(recorder: Recorder, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        train(model, optimizer, 30 - recorder.steps, recorder)

    whole, parts = network(), network()
    optimizer = torch.optim.Adam(whole.parameters(), lr=0.05)
    torch.manual_seed(5)
    with watch(whole, optimizer, folder=tmp_path / "whole", overhead=ALWAYS) as recorder:
        loop(recorder, whole, optimizer)
    optimizer = torch.optim.Adam(parts.parameters(), lr=0.05)
    torch.manual_seed(5)
    with watch(parts, optimizer, folder=tmp_path / "parts", overhead=ALWAYS) as recorder:
        train(parts, optimizer, 11, recorder)
    torch.manual_seed(99)
    parts = network()
    optimizer = torch.optim.Adam(parts.parameters(), lr=0.05)
    with watch(
        parts, optimizer, folder=tmp_path / "parts", overhead=ALWAYS, resume=True
    ) as recorder:
        assert recorder.steps == 11
        loop(recorder, parts, optimizer)
        inside = recorder.trajectory
    for one, two in zip(whole.state_dict().values(), parts.state_dict().values()):
        assert torch.equal(one, two)
    first, second = (RunFolder.open(tmp_path / name).metrics() for name in ("whole", "parts"))
    assert first["loss"] == second["loss"] == inside["loss"]
    assert any("gone on with from step 11" in note for note in second.notes)


def test_a_run_interrupted_by_the_keyboard_goes_on_to_the_bit(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "interrupt", str(tmp_path / "stopped"), "200"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "under way" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    stopped, *_, last = output.splitlines()
    latest = int(stopped.removeprefix("interrupted at "))
    assert latest > 30  # or the test tested nothing
    ended, expected = last.split()
    assert ended == expected
    seen, whole = (RunFolder.open(tmp_path / name).metrics() for name in ("stopped", "whole"))
    assert seen["loss"] == whole["loss"]
    assert any(f"gone on with from step {latest}" in note for note in seen.notes)


def test_an_exception_leaves_the_last_checkpoint_that_is_exact(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    def fails() -> None:
        with watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS) as recorder:
            train(model, optimizer, 7, recorder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    run = RunFolder.open(tmp_path / "run")
    assert run.latest_checkpoint() == 4 and run.metrics().steps == 7
    watch(model, optimizer).close()


def test_a_rolling_checkpoint_replaces_the_one_before(
    tmp_path: Path,
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saving, "ROLLING_SECONDS", 0.0)
    recorder = watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS)
    train(model, optimizer, 14, recorder)
    run = RunFolder.open(tmp_path / "run")
    assert run.checkpoints() == [0, 1, 2, 4, 8, 14]
    assert run.metrics().steps == 14  # no checkpoint is ahead of what was written of the losses
    run.load_checkpoint(14, network())
    train(model, optimizer, 2, recorder)
    recorder.close()
    assert run.checkpoints() == [0, 1, 2, 4, 8, 16]


def test_a_folder_that_cannot_be_made_warns_once(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="Not a directory.*training goes on") as seen:
        recorder = watch(model, optimizer, folder=tmp_path / "file" / "run", overhead=ALWAYS)
    train(model, optimizer, 300, recorder)
    recorder.close()
    assert len(seen) == 1 and recorder.folder is None and recorder.trajectory.steps == 300


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_warns_once_and_training_goes_on(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    recorder = watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS)
    (tmp_path / "run" / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.warns(RuntimeWarning, match="No space left on device") as seen:
        losses = train(model, optimizer, 600, recorder)
    recorder.close()
    assert len(seen) == 1
    np.testing.assert_array_equal(recorder.trajectory["loss"].values, losses)


@pytest.mark.skipif(os.name != "posix", reason="an open file can be removed there only")
@pytest.mark.parametrize("what", ["run", "run/metrics.jsonl"])
def test_files_that_were_removed_are_warned_of_once(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer, what: str
) -> None:
    recorder = watch(model, optimizer, folder=tmp_path / "run")
    losses = train(model, optimizer, 300, recorder)
    assert recorder.trajectory.steps == 300  # which writes them
    gone = tmp_path / what
    gone.rename(tmp_path / "elsewhere")
    (shutil.rmtree if (tmp_path / "elsewhere").is_dir() else os.remove)(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match="No such file or directory.*training goes on") as seen:
        losses = [*losses, *train(model, optimizer, 600, recorder)]
    recorder.close()
    assert len(seen) == 1
    np.testing.assert_array_equal(recorder.trajectory["loss"].values, losses)


def test_checkpoints_that_cannot_be_written_warn_once(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    recorder = watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS)
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.rename(tmp_path / "elsewhere")
    checkpoints.touch()
    with pytest.warns(RuntimeWarning, match="training goes on") as seen:
        train(model, optimizer, 30, recorder)
    recorder.close()
    assert len(seen) == 1 and recorder.trajectory.steps == 30


def test_a_state_that_is_no_data_costs_the_checkpoints_only(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    optimizer.param_groups[0]["note"] = object()
    with pytest.warns(RuntimeWarning, match=r"no checkpoints are saved: state\.optimizer"):
        recorder = watch(model, optimizer, folder=tmp_path / "run", overhead=ALWAYS)
    train(model, optimizer, 30, recorder)
    recorder.close()
    assert RunFolder.open(tmp_path / "run").metrics().steps == 30


def test_wrong_use_is_one_sentence(
    tmp_path: Path, model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with pytest.raises(ModelError, match=r"must be a torch.nn.Module, not int"):
        watch(3, optimizer)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="optimizer must be"):
        watch(model, model)  # type: ignore[arg-type]
    for overhead in (-0.1, math.nan, "5%", True):
        with pytest.raises(UsageError, match="overhead must be"):
            watch(model, optimizer, overhead=overhead)  # type: ignore[arg-type]
    for arguments, words in (
        ({"loader": "runs/mine"}, "not be a path: folder='runs/mine'"),
        ({"loader": 5}, "loader must give batches, not be of type int"),
        ({"folder": 5}, "folder must be a path, not 5"),
        ({"folder": ""}, "folder must be a path, not ''"),
        ({"rules": print}, "rules must be a sequence of functions"),
        ({"rules": [3]}, r"rules must be a sequence of functions, not \[3\]"),
        ({"loggers": [3]}, "loggers must be a sequence of functions"),
        ({"scheduler": 3}, "scheduler must have a state_dict, but int has none"),
        ({"task_reference": print}, "task_reference must be a text"),
    ):
        with pytest.raises(UsageError, match=words):
            watch(model, optimizer, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="folder must be given"):
        watch(model, optimizer, resume=True)
    with pytest.raises(FolderError, match="does not exist"):
        watch(model, optimizer, folder=tmp_path / "absent", resume=True)
    recorder = watch(model, optimizer, folder=tmp_path / "run")
    with pytest.raises(UsageError, match="no other recorder"):
        watch(model, optimizer)
    for loss, words in ((torch.zeros(2), r"shape \(2,\)"), ("a", "not str"), (None, "NoneType")):
        with pytest.raises(UsageError, match=words):
            recorder.step(loss)  # type: ignore[arg-type]
    recorder.close()
    recorder.close()
    with pytest.raises(UsageError, match="after close"):
        recorder.step(torch.zeros(()))
    with pytest.raises(FolderError, match=r"no other run.*resume=True"):
        watch(model, optimizer, folder=tmp_path / "run")
    other = nn.Linear(2, 2)
    with pytest.raises(FolderError, match="does not fit the model"):
        watch(other, torch.optim.SGD(other.parameters()), folder=tmp_path / "run", resume=True)
    watch(other, torch.optim.SGD(other.parameters())).close()  # it was not left as watched


def test_nothing_is_kept_of_a_model_that_is_gone() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters())
    recorder = watch(model, optimizer)
    before = len(recorder_module.WATCHED)
    del model, optimizer, recorder
    gc.collect()
    assert len(recorder_module.WATCHED) == before - 1


def test_a_pace_keeps_to_its_share_and_saves_nothing_up() -> None:
    pace = Pace(0.1)
    now = spent = 0.0
    for _ in range(10_000):
        now += 0.001
        if pace.is_due(now):
            now, spent = now + 0.0005, spent + 0.0005
            pace.took(0.0005, now)
    assert 0.8 * pace.share < spent / now < 1.1 * pace.share
    later = now + 1000
    assert pace.is_due(later)
    pace.took(0.0005, later)
    assert not pace.is_due(later + 0.001)
    assert not Pace(0.0).is_due(1e9)


def test_an_empty_recording_is_empty(
    model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with watch(model, optimizer) as recorder:
        pass
    assert recorder.trajectory == Trajectory() and recorder.steps == 0
