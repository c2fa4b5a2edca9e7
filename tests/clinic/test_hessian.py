"""The dense Hessian and the sharpness, against closed forms."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import mse_loss

from thalweg.clinic.hessian import dense_hessian, lean
from thalweg.clinic.training import mlp, settle, sharpness


def _linear() -> tuple[nn.Linear, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 4, generator=generator)
    return nn.Linear(4, 1), (inputs, torch.randn(50, 1, generator=generator))


def _closed_form(inputs: torch.Tensor) -> torch.Tensor:
    rows = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    return 2 * rows.T @ rows / len(rows)


def test_least_squares() -> None:
    model, (inputs, targets) = _linear()
    slope, hessian = dense_hessian(model, mse_loss, (inputs, targets), decay=0.3)
    expected = _closed_form(inputs) + 0.3 * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(hessian, expected)
    rows = torch.cat([inputs, torch.ones(50, 1)], 1).double()
    point = torch.cat([p.detach().flatten() for p in model.parameters()]).double()
    residual = rows @ point - targets.double().flatten()
    torch.testing.assert_close(slope, 2 * rows.T @ residual / 50 + 0.3 * point)


def test_a_network_against_the_hessian_of_autograd() -> None:
    torch.manual_seed(0)
    model = mlp((2, 3, 1), nn.Tanh).double()
    data = (torch.randn(20, 2).double(), torch.randn(20, 1).double())
    _, hessian = dense_hessian(model, mse_loss, data)
    shapes = [p.shape for p in model.parameters()]
    names = [n for n, _ in model.named_parameters()]

    def value(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([s.numel() for s in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return mse_loss(torch.func.functional_call(model, weights, (data[0],)), data[1])

    point = torch.cat([p.detach().flatten() for p in model.parameters()])
    expected = torch.autograd.functional.hessian(value, point)
    torch.testing.assert_close(hessian, expected)


def test_sharpness_is_the_top_eigenvalue() -> None:
    torch.manual_seed(0)
    model, data = _linear()
    top = torch.linalg.eigvalsh(_closed_form(data[0]))[-1]
    assert sharpness(model, mse_loss, data, products=200) == pytest.approx(top.item(), rel=1e-3)


def test_settling_ends_at_the_solution_of_the_normal_equations() -> None:
    model, data = _linear()
    settle(model, mse_loss, data, decay=0.1)
    rows = torch.cat([data[0], torch.ones(50, 1)], 1).double()
    expected = torch.linalg.solve(
        _closed_form(data[0]) + 0.1 * torch.eye(5, dtype=torch.float64),
        2 * rows.T @ data[1].double().flatten() / 50,
    )
    point = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(point, expected.float(), atol=1e-6, rtol=1e-5)


def test_the_lean_of_a_saddle_and_of_a_bowl() -> None:
    """The loss is -3a^2/2 + 4b^2/2 in two weights; then with both signs up."""
    model = nn.Linear(2, 1, bias=False)

    def bent(sign: float):
        return lambda output, target: (
            (sign * 3 * model.weight[0, 0] ** 2 + 4 * model.weight[0, 1] ** 2) / 2
        )

    data = (torch.zeros(1, 2), torch.zeros(1, 1))
    assert lean(model, bent(-1.0), data) == pytest.approx(-0.75, abs=1e-4)
    assert lean(model, bent(1.0), data) == pytest.approx(0.75, abs=1e-3)


def test_the_lean_of_a_transformer() -> None:
    """Its attention has a fused form without a second derivative."""
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    data = (torch.randn(3, 5, 4), torch.randn(3, 5, 4))
    assert -1.0 <= lean(model, mse_loss, data, products=20) <= 1.0


def test_sharpness_goes_through_fused_attention() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True), nn.Flatten())
    data = torch.randn(6, 3, 8), torch.randn(6, 24)
    with sdpa_kernel(SDPBackend.MATH):
        expected = sharpness(model, mse_loss, data)
    assert sharpness(model, mse_loss, data) == pytest.approx(expected, rel=1e-2)
