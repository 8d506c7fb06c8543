import math

import pytest
import torch
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.base import loss_of_rows
from labelbench_ray.trainers.algorithms.pseudolabel import PseudoLabel


def test_a_batch_by_hand():
    weak = logits_for([0.2, 0.8], [0.6, 0.4], [0.75, 0.25])
    targets = PseudoLabel(p_cutoff=0.7).targets(batch_of(weak), {})
    assert targets.target_U.tolist() == [1, 0, 0]
    assert targets.weight_U.tolist() == [1, 0, 1]
    assert loss_of_rows(weak, targets).tolist() == pytest.approx([-math.log(0.8), 0.0, -math.log(0.75)])


def test_every_confident_row_has_a_gradient_however_many_labelled_rows_there_are():
    # LabelBench takes the last B of the U = uratio B rows, so that most of them never count.
    weak = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 3.0], [2.5, 0.0], [0.0, 2.5], [0.1, 0.0]], requires_grad=True)
    batch = batch_of(weak.detach(), labeled=weak[:2].detach(), labels=[0, 1])
    targets = PseudoLabel(p_cutoff=0.9, uratio=3).targets(batch, {})
    loss_of_rows(weak, targets).mean().backward()
    assert (weak.grad.abs().amax(1) > 0).tolist() == [True, False, True, True, True, False]


def test_the_loss_is_averaged_over_the_whole_batch_not_over_the_confident_rows():
    weak = logits_for([0.8, 0.2], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5])
    targets = PseudoLabel(p_cutoff=0.7).targets(batch_of(weak), {})
    assert loss_of_rows(weak, targets).mean().item() == pytest.approx(-math.log(0.8) / 4)


def test_the_weight_rises_in_a_straight_line_then_stays():
    published = PseudoLabel(ulb_warm_up=2000, ulb_loss_ratio=0.5)
    assert [published.unlabeled_weight(step, 9000) for step in (0, 1000, 2000, 5000)] == [0.0, 0.25, 0.5, 0.5]
    by_share = PseudoLabel()
    assert [by_share.unlabeled_weight(step, 10) for step in (0, 2, 4, 9)] == [0.0, 0.5, 1.0, 1.0]
    assert PseudoLabel(ulb_warm_up=0).unlabeled_weight(0, 10) == 1.0
