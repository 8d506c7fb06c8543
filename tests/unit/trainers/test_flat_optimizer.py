import pytest
import torch

from labelbench_ray.trainers.flat_optimizer import FlatOptimizer, clip
from labelbench_ray.trainers.optimisers import make_optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_steps_are_torchs(kind, weight_decay):
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.nn.Parameter(torch.randn(3, 4, generator=generator)), torch.nn.Parameter(torch.zeros(3))
    flat = torch.cat([weight.detach().flatten(), bias.detach()])
    gradient = torch.zeros_like(flat)
    theirs = make_optimizer(kind, [weight, bias], 0.1, weight_decay)
    ours = FlatOptimizer(kind, flat, gradient, 12, weight_decay)
    for step in range(6):
        drawn = torch.randn(15, generator=generator)
        weight.grad, bias.grad = drawn[:12].view(3, 4).clone(), drawn[12:].clone()
        for group in theirs.param_groups:
            group["lr"] = 0.1 / (step + 1)
        theirs.step()
        gradient.copy_(drawn)
        ours.step(0.1 / (step + 1))
        torch.testing.assert_close(flat, torch.cat([weight.detach().flatten(), bias.detach()]), rtol=1e-5, atol=1e-6)


def test_heads_in_one_tensor_step_as_alone():
    generator = torch.Generator().manual_seed(0)
    together, gradients = torch.randn(2, 5, generator=generator), torch.randn(2, 5, generator=generator)
    alone = together[1].clone()
    FlatOptimizer("adam", together, gradients.clone(), 3, 0.1).step(0.1)
    FlatOptimizer("adam", alone, gradients[1].clone(), 3, 0.1).step(0.1)
    assert torch.equal(together[1], alone)


def test_clipping_shortens_long_gradients_alone():
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    clip(gradient, 1.0)
    torch.testing.assert_close(gradient, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
