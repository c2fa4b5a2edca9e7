"""Sketches on disk: what was written is read, also after a kill and a resumption."""

from pathlib import Path

import pytest
import torch

from thalweg.errors import FolderError
from thalweg.record.folder import RunFolder
from thalweg.record.sketch import FoldSketch
from thalweg.record.sketchbook import SketchBook, cut_sketches, read_sketches

DIM = 6


def book(path: Path, size: int = DIM) -> SketchBook:
    return SketchBook(path, FoldSketch(DIM, size, 7), ["a", "b"], [[2, 2], [2]])


def write(path: Path, *segments: list[int]) -> None:
    for steps in segments:
        rows = torch.tensor(steps, dtype=torch.float32)[:, None] + torch.arange(DIM) / 10
        book(path).append(steps, rows, -rows, [1.0 / (1 + step) for step in steps])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    assert run.sketches() is None
    write(run.sketches_path, [0, 1, 2], [4, 8])
    (run.sketches_path / ".from-00000009.safetensors.building").write_bytes(b"torn by a kill")
    seen = run.sketches()
    assert seen is not None and len(seen) == 5
    assert seen.steps.tolist() == [0, 1, 2, 4, 8] and seen.sketch.seed == 7 and seen.sketch.exact
    assert torch.equal(seen.gradients, -seen.parameters) and seen.losses[3] == 0.2
    weights = seen.weights(4)
    assert list(weights) == ["a", "b"] and weights["a"].shape == (2, 2)
    torch.testing.assert_close(weights["b"], torch.tensor([8.4, 8.5]))


@pytest.mark.parametrize("step", [0, 1, 3, 4, 9])
def test_a_resumed_run_forgets_what_came_after(tmp_path: Path, step: int) -> None:
    write(tmp_path, [0, 1, 2], [4, 8])
    cut_sketches(tmp_path, step)
    seen = read_sketches(tmp_path)
    assert seen is not None
    assert seen.steps.tolist() == [s for s in (0, 1, 2, 4, 8) if s <= step]
    write(tmp_path, [step + 1])
    again = read_sketches(tmp_path)
    assert again is not None and again.steps.tolist() == [*seen.steps.tolist(), step + 1]


def test_what_is_no_sketch_of_this_run_is_said(tmp_path: Path) -> None:
    write(tmp_path, [0])
    rows = torch.zeros(1, 3)
    book(tmp_path, 3).append([5], rows, rows.clone(), [1.0])
    with pytest.raises(FolderError, match="segments differ"):
        read_sketches(tmp_path)
    (tmp_path / "from-00000000.safetensors").unlink()
    sketched = read_sketches(tmp_path)
    assert sketched is not None
    with pytest.raises(FolderError, match="6 numbers were sketched to 3"):
        sketched.weights(0)
    (tmp_path / "from-00000005.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FolderError, match="cannot be read"):
        read_sketches(tmp_path)
