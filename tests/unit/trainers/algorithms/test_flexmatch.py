import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.base import loss_of_rows
from labelbench_ray.trainers.algorithms.flexmatch import FlexMatch, count_labels, flexmatch_thresholds


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


def test_thresholds_of_a_batch_are_those_before_it():
    algorithm = FlexMatch(p_cutoff=0.8)
    state = algorithm.start(2, 2, 2, "cpu")
    weak = logits_for([0.9, 0.1], [0.55, 0.45])
    assert algorithm.targets(batch_of(weak), state).weight_U.tolist() == [1, 1]
    assert algorithm.targets(batch_of(weak, step=1), state).weight_U.tolist() == [1, 0]  # now tau = 0.8, 0


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_counts_are_what_recounting_the_pool_gives(data):
    num_rows, num_classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 4))
    state = FlexMatch().start(num_rows, num_rows, num_classes, "cpu")
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
