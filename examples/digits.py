"""A small network on scanned digits, whose learning rate is far too low.

thalweg diagnose examples/digits.py:task
thalweg race examples/digits.py:task --report report.html
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import thalweg as tw

HELD_OUT = 400


def task(rate: float = 1e-4, steps: int = 200) -> tw.Task:
    """The training after a while, as it stands in front of whoever wonders why it does not learn."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    targets = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    train, test = order[HELD_OUT:], order[:HELD_OUT]

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    history = []
    for _ in range(steps):
        batch = train[torch.randint(len(train), (64,))]
        loss = cross_entropy(model(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())

    return tw.Task(
        model=model,
        loss=cross_entropy,
        train=(inputs[train], targets[train]),
        test=(inputs[test], targets[test]),
        optimizer=optimizer,
        batch_size=64,
        history=history,
        name="digits",
    )
