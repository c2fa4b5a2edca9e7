"""A training loop of one's own, watched: what it leaves in runs/wine can be diagnosed later.

python examples/watched.py
thalweg diagnose runs/wine                                        from its history alone
thalweg diagnose runs/wine --task examples/watched.py:task        and where its weights stand
"""

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.nn.functional import cross_entropy

import thalweg as tw

wine = load_wine()
columns = torch.tensor(wine.data, dtype=torch.float32)  # as they come: their scales differ by 1000
classes = torch.tensor(wine.target)


def task() -> tw.Task:
    """The training as it begins; the weights come from the run."""
    torch.manual_seed(0)
    model = nn.Linear(13, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    return tw.Task(model=model, loss=cross_entropy, train=(columns, classes), optimizer=optimizer)


def main(steps: int = 2000, folder: str = "runs/wine") -> None:
    """Train."""
    start = task()
    model, optimizer = start.model, start.optimizer
    reference = "examples/watched.py:task"
    with tw.watch(model, optimizer, folder=folder, task_reference=reference) as recorder:
        for _ in range(steps):
            loss = cross_entropy(model(columns), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)


if __name__ == "__main__":
    main()
