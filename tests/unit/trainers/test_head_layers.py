import numpy as np
import pytest
import torch

from labelbench_ray.trainers.head_layers import HeadLayers
from labelbench_ray.trainers.standardisation import Standardise

MEAN = np.linspace(-3, 5, 6).astype(np.float32)
SCALE = np.linspace(0.5, 2, 6).astype(np.float32)


def layers_of(widths, dtype=torch.float32, seed=0):
    made = HeadLayers(widths, Standardise(MEAN, SCALE), dtype, "cpu")
    generator = torch.Generator().manual_seed(seed)
    made.flat_P.copy_(torch.randn(made.flat_P.shape, generator=generator))
    return made


def by_autograd(made, rows, gradient_CT):
    """Logits and flat gradient of the same head, written plainly in float64."""
    flat = [part.double().requires_grad_() for part in (*made.weights, *made.biases)]
    weights, biases = flat[: len(made.weights)], flat[len(made.weights) :]
    values = (rows.double() - torch.from_numpy(MEAN)) * torch.from_numpy(SCALE)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        values = (values.relu() if number else values) @ weight.T + bias
    gradients = torch.autograd.grad(values, flat, gradient_CT.T.double())
    return values.detach().T, torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("widths", [(6, 3), (6, 8, 3), (6, 8, 5, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
def test_logits_and_gradients_are_autograds(widths, dtype, tolerance):
    made = layers_of(widths, dtype)
    generator = torch.Generator().manual_seed(1)
    stored = (torch.randn(20, 6, generator=generator) / torch.from_numpy(SCALE) + torch.from_numpy(MEAN)).half()
    gradient_CT = torch.randn(3, 12, generator=generator) / 12
    rows = made.prepare(stored, torch.empty(20, 6))
    logits, hidden = made.forward(rows)
    made.backward(rows[8:], [part[:, 8:] for part in hidden], gradient_CT)
    expected, gradient_P = by_autograd(made, stored, torch.cat([torch.zeros(3, 8), gradient_CT], dim=1))
    torch.testing.assert_close(logits.double(), expected, rtol=tolerance, atol=tolerance * 5)
    torch.testing.assert_close(made.gradient_P.double(), gradient_P, rtol=tolerance, atol=tolerance * 5)


def test_a_mean_far_from_zero_leaves_bfloat16_its_digits():
    far = Standardise(np.full(6, 100.0, np.float32), np.ones(6, np.float32))
    made = HeadLayers((6, 2), far, torch.bfloat16, "cpu")
    made.weights[0].copy_(torch.tensor([[1.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1.0]]))
    stored = torch.full((1, 6), 100.0)
    stored[0, 0] = 100.5
    logits, _ = made.forward(made.prepare(stored, torch.empty(1, 6)))
    assert logits.flatten().tolist() == [0.5, 0.0]
