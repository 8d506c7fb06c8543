import numpy as np
import torch

from labelbench_ray.seeding import stream
from labelbench_ray.trainers.mixing import Mixing, as_distributions, draw_mixing


def test_inputs_and_targets_are_mixed_with_the_same_partner_and_share():
    mixing = Mixing(share=0.75, partner_B=np.array([2, 0, 1]))
    rows = torch.tensor([[0.0, 4.0], [8.0, 0.0], [4.0, 4.0]])
    assert mixing.of(rows).tolist() == [[1.0, 4.0], [6.0, 1.0], [5.0, 3.0]]
    targets = mixing.of(as_distributions(torch.tensor([0, 1, 1]), 2))
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]


def test_labels_that_are_zeros_and_ones_are_their_own_targets():
    assert as_distributions(torch.tensor([[1, 0, 1]]), 3).tolist() == [[1.0, 0.0, 1.0]]


def test_shares_follow_the_beta_distribution_and_partners_are_a_permutation():
    drawn = [draw_mixing(0.4, 5, stream(0, "mixup", step)) for step in range(2000)]
    shares = np.array([mixing.share for mixing in drawn])
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 0.25 / 1.8) < 0.01  # of Beta(a, a): 1 / (4 (2 a + 1))
    assert all(sorted(mixing.partner_B) == [0, 1, 2, 3, 4] for mixing in drawn)
