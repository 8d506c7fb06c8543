import math

import pytest
import torch
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.softmatch import SoftMatch


def test_weights_by_hand():
    # Rows that mirror one another have equal shares of both classes, so that alignment changes nothing.
    weak = logits_for([0.9, 0.1], [0.1, 0.9], [0.7, 0.3], [0.3, 0.7])
    algorithm = SoftMatch(ema_p=0.5, n_sigma=2.0)
    state = algorithm.start(4, 4, 2, "cpu")
    targets = algorithm.targets(batch_of(weak), state)
    mean, variance = (0.5 + 0.8) / 2, (1.0 + 0.04 / 3) / 2  # of four certainties around 0.8, unbiased: 0.04 / 3
    assert state["mean"].item() == pytest.approx(mean)
    assert state["variance"].item() == pytest.approx(variance)
    assert targets.target_U.tolist() == [0, 1, 0, 1]
    assert targets.weight_U.tolist() == [1, 1, 1, 1]  # all above the mean of 0.65
    low = algorithm.targets(batch_of(logits_for([0.55, 0.45], [0.45, 0.55]), step=1), state).weight_U
    mean, variance = (mean + 0.55) / 2, variance / 2
    assert low.tolist() == pytest.approx([math.exp(-4 * (0.55 - mean) ** 2 / (2 * variance))] * 2)
    assert low[0] < 1.0


def test_the_weight_is_of_the_aligned_prediction_and_the_label_is_not():
    # LabelBench takes the label from the aligned prediction too, here class 1 for the last row.
    weak = logits_for([0.9, 0.1], [0.9, 0.1], [0.55, 0.45])
    algorithm = SoftMatch(ema_p=0.5)
    state = algorithm.start(3, 3, 2, "cpu")
    targets = algorithm.targets(batch_of(weak), state)
    assert targets.target_U.tolist() == [0, 0, 0]
    scaled = 0.45 / (0.65 / 3)  # class 1 has 0.65 / 3 of the batch's probability
    assert state["predicted_C"].tolist() == pytest.approx([2.35 / 3, 0.65 / 3])
    aligned = [scaled / (scaled + 0.55 / (2.35 / 3))]
    aligned += [(0.9 / 2.35) / (0.9 / 2.35 + 0.1 / 0.65)] * 2
    assert state["mean"].item() == pytest.approx((0.5 + sum(aligned) / 3) / 2, rel=1e-4)


def test_alignment_to_labelled_rows_follows_their_mean_prediction():
    labeled = logits_for([0.9, 0.1], [0.7, 0.3])
    weak = logits_for([0.5, 0.5], [0.5, 0.5])
    algorithm = SoftMatch(dist_uniform=False)
    assert algorithm.asks_labeled
    assert not SoftMatch().asks_labeled
    state = algorithm.start(2, 2, 2, "cpu")
    algorithm.targets(batch_of(weak, labeled=labeled, labels=[0, 0]), state)
    assert state["wanted_C"].tolist() == pytest.approx([0.8, 0.2])
    assert state["mean"].item() == pytest.approx(0.999 * 0.5 + 0.001 * 0.8, abs=1e-6)


def test_equally_certain_rows_and_a_batch_of_one_row_have_finite_weights():
    for rows in ([[0.9, 0.1]] * 3, [[0.9, 0.1]]):
        algorithm = SoftMatch(ema_p=0.0)
        state = algorithm.start(3, 3, 2, "cpu")
        targets = algorithm.targets(batch_of(logits_for(*rows)), state)
        assert torch.isfinite(targets.weight_U).all()
        assert torch.isfinite(state["variance"])
