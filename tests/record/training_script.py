"""A plain training loop with dropout, momentum and a schedule that goes on from a run folder.

    python training_script.py kill FOLDER N STEPS    fork N trainings in turn, kill each at random
    python training_script.py interrupt FOLDER STEPS train under watch(), wait for a Ctrl-C, go on as far

Both end with two digests: of the model whose training was disturbed, and of one that was not.
"""

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.record.folder import RunFolder
from thalweg.record.watch import watch

CHECKPOINT_EVERY = 3
torch.set_num_threads(1)  # threads do not survive a fork


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))


def digest(model: nn.Module) -> str:
    content = b"".join(v.detach().numpy().tobytes() for v in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def training() -> tuple[Any, Any, nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(7)
    x = torch.randn(64, 6)
    y = x.sin().sum(1, keepdim=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return x, y, model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.7)


def watched(path: Path, steps: int) -> str:
    """The training again, with its batches from the global random state, under watch()."""
    x, y, model, optimizer, scheduler = training()
    resume = RunFolder.is_run(path)
    with watch(
        model, optimizer, folder=path, scheduler=scheduler, resume=resume, overhead=10.0
    ) as recorder:
        for step in range(recorder.steps + 1, steps + 1):
            if step == 100:
                print("under way", flush=True)
            rows = torch.randint(64, (16,))
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            recorder.step(loss)
    return digest(model)


def train(path: Path, steps: int, pause: float = 0.0) -> str:
    x, y, model, optimizer, scheduler = training()
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
    return digest(model)


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
            run.load_checkpoint(latest, network())
        print(seen.steps, latest)


def interrupted(path: Path, steps: int) -> None:
    """Train until a Ctrl-C comes, wherever it strikes."""
    try:
        watched(path, steps)
    except KeyboardInterrupt:
        print("interrupted at", RunFolder.open(path).latest_checkpoint(), flush=True)


if __name__ == "__main__":
    folder, steps = Path(sys.argv[2]), int(sys.argv[-1])
    if sys.argv[1] == "kill":
        nursery(folder, int(sys.argv[3]), steps)
        print(train(folder, steps), train(folder.with_name("whole"), steps))
    else:
        interrupted(folder, 10**9)
        steps += RunFolder.open(folder).latest_checkpoint() or 0
        print(watched(folder, steps), watched(folder.with_name("whole"), steps))
