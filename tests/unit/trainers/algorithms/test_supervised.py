import math

import pytest
import torch
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.supervised import Supervised
from labelbench_ray.trainers.losses import LabeledLoss


def test_the_loss_is_cross_entropy_of_each_row():
    losses = LabeledLoss().rows(logits_for([0.5, 0.3, 0.2], [0.1, 0.8, 0.1]), torch.tensor([0, 2]))
    assert losses.tolist() == pytest.approx([-math.log(0.5), -math.log(0.1)])


def test_label_smoothing_spreads_part_of_the_target_over_all_classes():
    losses = LabeledLoss(label_smoothing=0.3).rows(logits_for([0.5, 0.3, 0.2]), torch.tensor([0]))
    by_hand = -(0.8 * math.log(0.5) + 0.1 * math.log(0.3) + 0.1 * math.log(0.2))
    assert losses.item() == pytest.approx(by_hand)


def test_no_unlabelled_row_is_used():
    algorithm = Supervised()
    assert algorithm.uratio == 0
    assert algorithm.unlabeled_weight(3, 10) == 0.0
    assert algorithm.targets(batch_of(logits_for([0.9, 0.1], [0.5, 0.5])), {}).weight_U.tolist() == [0, 0]
