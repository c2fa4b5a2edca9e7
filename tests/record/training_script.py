"""A plain training loop with dropout, momentum and a schedule that goes on from a run folder.

python training_script.py FOLDER STEPS          go on (or start) and print a digest of the end
python training_script.py --nursery FOLDER N    fork N trainings and kill each at a random moment
"""

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from thalweg.record.folder import RunFolder

CHECKPOINT_EVERY = 3
torch.set_num_threads(1)  # threads do not survive a fork


def train(path: Path, steps: int, pause: float = 0.0) -> str:
    torch.manual_seed(7)
    x = torch.randn(64, 6)
    y = x.sin().sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.7)
    batches = torch.Generator().manual_seed(3)
    generators = {"batches": batches}
    if RunFolder.is_run(path):
        run = RunFolder.open(path)
        first = run.latest_checkpoint() or 0
        if first:
            run.load_checkpoint(
                first, model, optimizer, scheduler, random_state=True, generators=generators
            )
        run.resume(first)
    else:
        run, first = RunFolder.create(path, seed=7), 0
    for step in range(first + 1, steps + 1):
        rows = torch.randint(64, (16,), generator=batches)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.append(step, loss=float(loss.detach()), learning_rate=scheduler.get_last_lr()[0])
        if step % CHECKPOINT_EVERY == 0:
            run.save_checkpoint(step, model, optimizer, scheduler, generators=generators)
        time.sleep(pause)
    run.close()
    content = b"".join(v.detach().numpy().tobytes() for v in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def nursery(path: Path, kills: int, steps: int) -> None:
    """Fork a training, kill it at a random moment, look at the folder; over and over."""
    chance = random.Random(11)
    train(path.with_name("warm"), 4)  # what torch loads on first use would take up the moments
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            train(path, steps, pause=0.001)
            os._exit(0)
        time.sleep(chance.uniform(0.005, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not RunFolder.is_run(path):
            continue
        run = RunFolder.open(path)
        seen = run.metrics()
        latest = run.latest_checkpoint() or 0
        assert seen["loss"].steps.tolist() == list(range(1, seen.steps + 1)), seen["loss"].steps
        assert latest <= seen.steps, (latest, seen.steps)
        if latest:
            model = nn.Sequential(
                nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1)
            )
            run.load_checkpoint(latest, model)
        print(seen.steps, latest)


if __name__ == "__main__":
    if sys.argv[1] == "--nursery":
        nursery(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        print(train(Path(sys.argv[1]), int(sys.argv[2])))
