"""Position: a training that goes on in the midst of one sees what it would have seen."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from thalweg.errors import UsageError
from thalweg.record.watch import watch

BATCHES, EPOCHS = 5, 3


class Jittered(Dataset):
    """Draws from the global random state for each example, as augmentation does."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> torch.Tensor:
        return index + 0.1 * torch.rand(())


def train(path: Path, own: bool, until: int, resume: bool = False) -> list[tuple[int, float]]:
    """Steps with what they saw, up to a step at which the process would be killed."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3) if own else None
    loader = DataLoader(Jittered(), batch_size=4, shuffle=True, generator=generator)
    model = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    seen = []
    with watch(model, optimizer, loader, folder=path, resume=resume) as recorder:
        for _ in range(recorder.epoch, EPOCHS):
            for batch in recorder.batches():
                optimizer.zero_grad()
                loss = model(batch).square().mean()
                loss.backward()
                optimizer.step()
                recorder.step(loss)
                seen.append((recorder.epoch, float(loss.detach())))
                if recorder.steps == until:
                    return seen
    return seen


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("until", [1, BATCHES, BATCHES + 3, 3 * BATCHES])
def test_a_resumed_training_sees_what_an_undisturbed_one_sees(
    tmp_path: Path, own: bool, until: int
) -> None:
    with torch.random.fork_rng():
        whole = train(tmp_path / "whole", own, -1)
        first = train(tmp_path / "cut", own, until)
        rest = train(tmp_path / "cut", own, -1, resume=True)
    assert len(first) == until and len(whole) == BATCHES * EPOCHS
    assert first + rest == whole


def test_it_needs_a_loader() -> None:
    model = nn.Linear(2, 1)
    with (
        watch(model, torch.optim.SGD(model.parameters())) as recorder,
        pytest.raises(UsageError, match="loader must be given"),
    ):
        next(recorder.batches())
