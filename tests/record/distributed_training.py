"""Two processes train one model, each with its half of a batch, watched or not.

    python distributed_training.py FOLDER

Writes a digest of the weights of each, plain and watched, into FOLDER/rank-0 and FOLDER/rank-1: what
two processes print at once may run together.
"""

import hashlib
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from thalweg.record.watch import watch


def trained(rank: int, folder: Path | None) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(1))[rank]
    recorder = None
    if folder is not None:
        recorder = watch(wrapped, optimizer, folder=folder, overhead=float("inf"))
    for _ in range(12):
        optimizer.zero_grad()
        loss = (wrapped(x) - x.prod(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        if recorder is not None:
            recorder.step(loss)
    if recorder is not None:
        recorder.close()
        assert (recorder.folder is not None) == (rank == 0)
        assert recorder.trajectory["loss"].steps[-1] == 12
    content = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(content).hexdigest()


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    digests = trained(rank, None), trained(rank, folder / "run")
    (folder / f"rank-{rank}").write_text(" ".join(digests))
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(work, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
