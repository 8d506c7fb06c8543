import pytest
import torch
from logit_batches import batch_of, logits_for, random_batch, seeded

from labelbench_ray.trainers.algorithms.base import loss_of_rows
from labelbench_ray.trainers.algorithms.uda import UDA


def test_targets_are_sharpened_and_the_threshold_is_not():
    weak = logits_for([0.9, 0.1], [0.75, 0.25])
    targets = UDA(temperature=0.5, p_cutoff=0.8).targets(batch_of(weak), {})
    assert targets.target_U[0].tolist() == pytest.approx([0.81 / 0.82, 0.01 / 0.82])
    assert targets.target_U[1].tolist() == pytest.approx([0.9, 0.1])  # above 0.8 once sharpened, yet 0.75 before
    assert targets.weight_U.tolist() == [1, 0]


def test_the_gradient_is_that_of_the_divergence_from_the_sharpened_view():
    batch = random_batch(seeded())
    strong = torch.randn(6, 4, generator=seeded(1), requires_grad=True)
    targets = UDA(p_cutoff=0.5).targets(batch, {})
    (ours,) = torch.autograd.grad(loss_of_rows(strong, targets).sum(), strong)
    rows = torch.nn.functional.kl_div(strong.log_softmax(1), targets.target_U, reduction="none").sum(1)
    (divergence,) = torch.autograd.grad((rows * targets.weight_U).sum(), strong)
    torch.testing.assert_close(ours, divergence)
    assert ours.abs().max() > 0


def test_the_weight_rises():
    assert [UDA(ulb_warm_up=4).unlabeled_weight(step, 100) for step in (0, 1, 4, 50)] == [0.0, 0.25, 1.0, 1.0]
