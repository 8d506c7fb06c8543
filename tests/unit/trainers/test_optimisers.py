import pytest
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.optimisers import Schedule, make_optimizer, refuse_divergence


def factor(schedule, step, steps=100, warmup=0, restart=10):
    return Schedule(name=schedule, warmup_steps=warmup, restart_steps=restart, decay_steps=30).factor(step, steps)


def test_restarts_are_torchs_with_the_schedule_stepped_before_the_update():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    for step in range(100):
        optimizer.step()
        scheduler.step()
        assert factor("cosine_restarts", step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12), step


def test_cosine_falls_from_one_to_nearly_nothing():
    factors = [factor("cosine", step) for step in range(100)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.5)
    assert factors == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 1e-3


def test_steps_down_by_the_factor_again_and_again():
    assert [factor("step", step) for step in (0, 28, 29, 58, 59)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_warm_up_rises_in_equal_steps_to_the_full_rate():
    assert [factor("constant", step, warmup=4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factor("cosine", 3, warmup=3) == 1.0


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_decay_moves_weights_but_no_bias(kind):
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(1.0)
    optimizer = make_optimizer(kind, layer.parameters(), 0.1, 0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert (layer.weight < 1.0).all()
    assert (layer.bias == 1.0).all()


def test_frozen_parameters_are_left_out():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_optimizer("adamw", layer.parameters(), 0.1, 0.0)
    assert [parameter is layer.weight for group in optimizer.param_groups for parameter in group["params"]] == [True]


def test_divergence_names_the_first_bad_step_and_the_rate():
    losses = torch.tensor([1.0, float("inf"), float("nan")])
    with pytest.raises(TrainingError, match=r"step 51 with learning rate 0\.1"):
        refuse_divergence("linear", losses, 50, 0.1)
    refuse_divergence("linear", losses[:1], 50, 0.1)
