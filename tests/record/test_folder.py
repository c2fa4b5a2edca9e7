"""The run folder: it reads whenever the process was killed, and never runs what a file holds."""

import json
import os
import pickle
import random
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from thalweg.errors import FolderError, UsageError
from thalweg.record import folder as folder_module
from thalweg.record.folder import RunFolder, read_weights

SCRIPT = Path(__file__).with_name("training_script.py")
ROOT = Path(__file__).resolve().parents[2]


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def trained(model: nn.Module, steps: int = 3) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return optimizer


def same_state(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values())
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_run_killed_ten_times_reads_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "kill", str(tmp_path / "killed"), "10", "300"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    *moments, (ended, expected) = [line.split() for line in result.stdout.splitlines()]
    assert max(int(checkpoint) for _, checkpoint in moments) > 0
    assert ended == expected
    killed, whole = (RunFolder.open(tmp_path / name).metrics() for name in ("killed", "whole"))
    assert killed["loss"] == whole["loss"] and killed["learning_rate"] == whole["learning_rate"]


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "a" / "run", task_reference="train.py:task", seed=4)
    run.append(1, loss=0.5, gradient_norm=2.0)
    run.append(2, loss=float("nan"), good=True)
    run.append_block([3, 4], {"loss": [float("inf"), -float("inf")]})
    seen = RunFolder.open(run.path).metrics()
    assert seen["loss"].steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(seen["loss"].values, [0.5, np.nan, np.inf, -np.inf])
    assert list(seen["gradient_norm"]) == [(1, 2.0)] and list(seen["good"]) == [(2, 1.0)]
    assert not seen.notes and seen.environment["torch"] == torch.__version__
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    again = RunFolder.open(run.path)
    assert (again.task_reference, again.seed, again.name) == ("train.py:task", 4, "run")
    with pytest.raises(UsageError, match="'step'"):
        run.append_block(5, {"step": 1.0})


@given(st.data())
def test_a_file_cut_anywhere_reads_up_to_there(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        run = RunFolder.create(directory)
        for step in range(1, 6):
            run.append(step, loss=step / 3)
        run.close()
        file = run.path / "metrics.jsonl"
        whole = file.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        file.write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        # A line that lacks nothing but its end is a line.
        entire = complete + (whole[cut : cut + 1] == b"\n")
        seen = run.metrics()
        assert seen["loss"].steps.tolist() == list(range(1, entire + 1))
        torn = cut > 0 and whole[cut - 1 : cut] != b"\n" and entire == complete
        assert [("torn" in note) for note in seen.notes] == [True] * torn
        run = RunFolder.open(directory)
        run.resume(min(entire, 2))
        run.append(3, loss=9.0)
        run.close()
        assert run.metrics()["loss"].steps.tolist() == [*range(1, min(entire, 2) + 1), 3]
        assert any("gone on with" in note for note in run.metrics().notes)


def test_a_damaged_line_in_the_middle_is_dropped_and_said(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    lines = ['{"step": 1, "loss": 1}', "[3]", '{"step": [2, 3], "loss": [1]}', '{"step": 4}', "\0"]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "loss": 2}', ""]))
    seen = run.metrics()
    assert seen["loss"].steps.tolist() == [1, 5]
    assert [note.split()[1] for note in seen.notes] == ["2", "3", "5"]


def test_a_checkpoint_restores_everything(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = network()
    optimizer = trained(model)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 1, 2])
    optimizer.step()
    scheduler.step()
    own = torch.Generator().manual_seed(5)
    run = RunFolder.create(tmp_path)
    run.save_checkpoint(17, model, optimizer, scheduler, generators={"own": own})
    expected = (torch.rand(2), np.random.rand(), random.random(), torch.rand(2, generator=own))  # noqa: NPY002
    before = torch.random.get_rng_state()
    other = network()
    other_optimizer = torch.optim.Adam(other.parameters(), lr=3.0)
    other_scheduler = torch.optim.lr_scheduler.MultiStepLR(other_optimizer, [9])
    torch.random.set_rng_state(before)
    run.load_checkpoint(17, other, other_optimizer, other_scheduler)
    assert torch.equal(torch.random.get_rng_state(), before)
    run.load_checkpoint(17, other, random_state=True, generators={"own": own})
    drawn = (torch.rand(2), np.random.rand(), random.random(), torch.rand(2, generator=own))  # noqa: NPY002
    for one, two in zip(drawn, expected):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(two))
    assert same_state(model, other)
    assert other_scheduler.state_dict() == scheduler.state_dict()
    mine, theirs = optimizer.state_dict(), other_optimizer.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for key, state in mine["state"].items():
        for name, value in state.items():
            assert torch.equal(value, theirs["state"][key][name])
    assert sorted(p.name for p in (tmp_path / "checkpoints" / "step-00000017").iterdir()) == [
        "model.safetensors",
        "optimizer.pt",
    ]


def test_saving_a_step_again_replaces_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, run = network(), RunFolder.create(tmp_path)
    optimizer = trained(model)
    run.save_checkpoint(5, model, optimizer)
    first = read_weights(run.checkpoint_path(5))
    trained(model)
    run.save_checkpoint(5, model, optimizer)
    assert run.checkpoints() == [5] and run.latest_checkpoint() == 5
    assert not torch.equal(read_weights(run.checkpoint_path(5))["0.weight"], first["0.weight"])

    # Killed between the two renames, the old one still counts.
    renames = iter([os.rename])
    monkeypatch.setattr(os, "rename", lambda a, b: next(renames)(a, b))
    with pytest.raises((StopIteration, RuntimeError)):
        run.save_checkpoint(5, model, optimizer)
    assert RunFolder.open(tmp_path).checkpoints() == [5]
    run.load_checkpoint(5, network())


def test_half_written_checkpoints_do_not_count(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    (tmp_path / "checkpoints" / ".step-00000003.building").mkdir(parents=True)
    assert run.checkpoints() == [] and run.latest_checkpoint() is None
    with pytest.raises(FolderError, match=r"\(none\), not 3"):
        run.load_checkpoint(3, network())


def test_tied_weights_are_saved_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
            self.last.weight = self.first.weight
            whole = torch.arange(6.0)
            self.register_buffer("left", whole[:4])
            self.register_buffer("right", whole[2:])
            self.register_buffer("turned", torch.randn(2, 3).T)

    from safetensors import safe_open

    torch.manual_seed(1)
    model, other, run = Tied(), Tied(), RunFolder.create(tmp_path)
    run.save_checkpoint(1, model, torch.optim.SGD(model.parameters(), lr=0.1))
    with safe_open(run.checkpoint_path(1) / "model.safetensors", "pt") as file:
        assert "first.weight" in file.keys() and "last.weight" not in file.keys()  # noqa: SIM118
    run.load_checkpoint(1, other)
    assert same_state(model, other) and other.last.weight is other.first.weight
    assert read_weights(run.checkpoint_path(1)).keys() == model.state_dict().keys()


class Runs:
    """Creates a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_checkpoint_that_carries_code_is_refused(
    tmp_path: Path, protocol: int, by_torch: bool
) -> None:
    content = {"weight": torch.zeros(2), "more": Runs(tmp_path / "ran")}
    path = tmp_path / "evil.pt"
    if by_torch:
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content["more"], protocol))
    with pytest.raises(FolderError, match=r"evil.pt carries code \([\w.]+\), which is never run"):
        read_weights(path)
    assert not (tmp_path / "ran").exists()

    run = RunFolder.create(tmp_path / "run")
    model = network()
    run.save_checkpoint(1, model, trained(model))
    path.replace(run.checkpoint_path(1) / "optimizer.pt")
    with pytest.raises(FolderError, match="carries code") as caught:
        run.load_checkpoint(1, model)
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()


def test_a_whole_module_is_code(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "model.pt")
    with pytest.raises(FolderError, match="carries code"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "state",
    [{"lr": Path("a")}, {"lr": print}, {"lr": [1, {"a": object()}]}],
    ids=["path", "function", "object"],
)
def test_a_state_that_would_need_code_is_not_saved(
    tmp_path: Path, state: dict[str, object]
) -> None:
    run, model = RunFolder.create(tmp_path), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0].update(state)
    with pytest.raises(FolderError, match=r"state\.optimizer\.param_groups.*plain data"):
        run.save_checkpoint(1, model, optimizer)
    assert run.checkpoints() == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (network(5), r"0.weight has shape \(4, 3\) in the checkpoint and \(5, 3\) in the model"),
        (nn.Sequential(nn.Linear(3, 4)), r"it has 1.bias of shape \(4,\)"),
        (nn.Sequential(*network(), nn.Linear(2, 1)), r"it has no 3.weight, which has shape \(1, 2"),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused(
    tmp_path: Path, other: nn.Module, words: str
) -> None:
    run, model = RunFolder.create(tmp_path), network()
    run.save_checkpoint(1, model, trained(model))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(FolderError, match=words) as caught:
        run.load_checkpoint(1, other)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_an_optimizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    run, model = RunFolder.create(tmp_path), network()
    run.save_checkpoint(1, model, trained(model))
    few = torch.optim.Adam([next(model.parameters())])
    with pytest.raises(FolderError, match="does not fit the optimizer"):
        run.load_checkpoint(1, model, few)
    with pytest.raises(FolderError, match="no state of a scheduler"):
        run.load_checkpoint(1, model, None, object())


def test_weights_are_read_from_what_people_have(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = network()
    state: dict[str, Tensor] = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "c.pth")
    torch.save({"model": state, "step": 1}, tmp_path / "d.pt", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "b.pt", "c.pth", "d.pt"):
        read = read_weights(tmp_path / name)
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], value) for key, value in state.items())


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x10" * 40)
    (tmp_path / "b.pt").write_bytes(b"no pickle")
    (tmp_path / "c.pt").write_bytes(b"")
    torch.save({"a": torch.zeros(99)}, tmp_path / "d.pt")
    (tmp_path / "d.pt").write_bytes((tmp_path / "d.pt").read_bytes()[:-70])
    torch.save([1, 2], tmp_path / "e.pt")
    torch.save({"epoch": 1}, tmp_path / "f.pt")
    (tmp_path / "empty").mkdir()
    for name in ("a.safetensors", "b.pt", "c.pt", "d.pt", "e.pt", "f.pt", "empty", "absent.pt"):
        with pytest.raises(FolderError, match=name) as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value) and "carries code" not in str(caught.value)


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="does not exist"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(FolderError, match=r"no run\.toml"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.toml").write_text("format = [")
    with pytest.raises(FolderError, match="cannot be read"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.toml").write_text("format = 2")
    with pytest.raises(FolderError, match="format 2"):
        RunFolder.open(tmp_path)
    with pytest.raises(FolderError, match="no other run"):
        RunFolder.create(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be written") as caught:
        RunFolder.create(tmp_path / "file" / "run")
    assert isinstance(caught.value.__cause__, OSError)


@given(st.text(st.characters(codec=None), max_size=20), st.floats(), st.integers(-(2**60), 2**60))
def test_run_toml_holds_any_text_and_number(text: str, number: float, whole: int) -> None:
    sound = text.encode("utf-8", "replace").decode()
    content = {"name": text, "flag": True, "facts": {text: number, "whole": whole}}
    read = tomllib.loads(folder_module._toml(content))
    assert read["name"] == sound and read["flag"] is True
    np.testing.assert_equal(read["facts"], {sound: number, "whole": whole})


def test_other_files_are_written_whole(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    assert run.write("finding.json", "{}").read_text() == "{}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["finding.json", "run.toml"]
    for name in ("run.toml", "../elsewhere", "checkpoints"):
        with pytest.raises(UsageError, match="name must be"):
            run.write(name, "")
