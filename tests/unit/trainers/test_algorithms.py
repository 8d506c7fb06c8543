"""Losses and state of the algorithms, against values worked out by hand and against naive loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.errors import SpecError
from labelbench_ray.trainers.algorithms.base import Batch, loss_of_rows
from labelbench_ray.trainers.algorithms.flexmatch import FlexMatch, count_labels, flexmatch_thresholds
from labelbench_ray.trainers.finetune import FineTune
from labelbench_ray.trainers.heads import Linear
from labelbench_ray.trainers.losses import LabeledLoss


def logits_for(*rows):
    """Logits whose softmax is exactly these rows."""
    return torch.log(torch.tensor(rows))


def batch_of(weak, ids=None, step=0, steps=10):
    ids = torch.arange(len(weak)) if ids is None else torch.tensor(ids)
    return Batch(ids, weak, weak[:0], ids[:0], step, steps)


def test_supervised_is_cross_entropy_of_each_row():
    losses = LabeledLoss().rows(logits_for([0.5, 0.3, 0.2], [0.1, 0.8, 0.1]), torch.tensor([0, 2]))
    assert losses.tolist() == pytest.approx([-math.log(0.5), -math.log(0.1)])


def test_label_smoothing_spreads_part_of_the_target_over_all_classes():
    losses = LabeledLoss(label_smoothing=0.3).rows(logits_for([0.5, 0.3, 0.2]), torch.tensor([0]))
    by_hand = -(0.8 * math.log(0.5) + 0.1 * math.log(0.3) + 0.1 * math.log(0.2))
    assert losses.item() == pytest.approx(by_hand)


def test_thresholds_by_hand():
    # 10 unlabelled examples: 4 never confident, 4 last seen as class 0, 2 as class 1, none as class 2.
    counts = torch.tensor([4, 4, 2, 0])
    assert flexmatch_thresholds(counts, 0.9, warmup=True).tolist() == pytest.approx([0.9, 0.9 * 0.5 / 1.5, 0.0])
    # While most were never confident, that number is the divisor: beta = 2/7, 1/7.
    early = flexmatch_thresholds(torch.tensor([7, 2, 1, 0]), 0.9, warmup=True).tolist()
    assert early == pytest.approx([0.9 * (2 / 7) / (12 / 7), 0.9 * (1 / 7) / (13 / 7), 0.0])
    without = flexmatch_thresholds(torch.tensor([7, 2, 1, 0]), 0.9, warmup=False).tolist()
    assert without == pytest.approx([0.9, 0.9 * 0.5 / 1.5, 0.0])


def test_thresholds_are_zero_before_anything_is_confident():
    for warmup in (True, False):
        assert flexmatch_thresholds(torch.tensor([5, 0, 0]), 0.95, warmup).tolist() == [0.0, 0.0]


def test_a_batch_by_hand():
    algorithm = FlexMatch(p_cutoff=0.8)
    state = {"last_label_N": torch.tensor([0, 0, 1, -1, -1]), "counts": torch.tensor([2, 2, 1])}  # tau = 0.8, 0.8/3
    weak = logits_for([0.85, 0.15], [0.7, 0.3], [0.3, 0.7])
    strong = logits_for([0.6, 0.4], [0.6, 0.4], [0.9, 0.1])
    got = algorithm.targets(batch_of(weak, [2, 3, 4]), state)
    assert got.target_U.tolist() == [0, 0, 1]
    assert got.weight_U.tolist() == [1, 0, 1]  # 0.7 misses 0.8 of class 0; 0.7 passes 0.8/3 of class 1
    assert loss_of_rows(strong, got).tolist() == pytest.approx([-math.log(0.6), 0.0, -math.log(0.1)])
    assert state["last_label_N"].tolist() == [0, 0, 0, -1, -1]  # only 0.85 is confident: example 2 moved to class 0
    assert state["counts"].tolist() == [2, 3, 0]


def test_an_empty_mask_gives_zero_and_a_zero_gradient():
    algorithm = FlexMatch()
    state = {"last_label_N": torch.zeros(4, dtype=torch.int64), "counts": torch.tensor([0, 2, 2])}
    strong = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = loss_of_rows(strong, algorithm.targets(batch_of(torch.zeros(3, 2)), state)).mean()
    loss.backward()
    assert loss.item() == 0.0
    assert strong.grad.abs().max().item() == 0.0


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_counts_are_what_recounting_gives(data):
    num_rows, num_classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 4))
    algorithm = FlexMatch()
    state = algorithm.start(num_rows, num_rows, num_classes, "cpu")
    last = np.full(num_rows, -1)
    for _ in range(data.draw(st.integers(1, 6))):
        ids = np.array(data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, unique=True)))
        labels = np.array(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=len(ids), max_size=len(ids))))
        confident = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))
        count_labels(state, torch.from_numpy(ids), torch.from_numpy(labels), torch.from_numpy(confident))
        last[ids[confident]] = labels[confident]
    assert state["last_label_N"].tolist() == last.tolist()
    assert state["counts"].tolist() == [int((last == label).sum()) for label in range(-1, num_classes)]


def test_a_batch_in_two_halves_leaves_the_same_state():
    algorithm = FlexMatch()
    ids, labels, confident = torch.tensor([3, 1, 0, 2]), torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 0, 1]).bool()
    whole, halves = algorithm.start(4, 4, 2, "cpu"), algorithm.start(4, 4, 2, "cpu")
    count_labels(whole, ids, labels, confident)
    for part in (slice(2, 4), slice(0, 2)):
        count_labels(halves, ids[part], labels[part], confident[part])
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: FlexMatch(p_cutoff=0.0), "p_cutoff"),
        (lambda: FlexMatch(uratio=0), "uratio"),
        (lambda: FlexMatch(ulb_loss_ratio=float("nan")), "ulb_loss_ratio"),
        (lambda: FlexMatch(num_strong_views=0), "num_strong_views"),
        (lambda: Linear(label_smoothing=1.0), "label_smoothing"),
        (lambda: FineTune(label_smoothing=-0.1), "label_smoothing"),
    ],
)
def test_refuses_a_field_out_of_range(made, field):
    with pytest.raises(SpecError, match=field):
        made()
