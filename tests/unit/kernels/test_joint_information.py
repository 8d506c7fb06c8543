from itertools import product

import numpy as np
import pytest
import torch

from labelbench_ray.kernels.joint_information import JointInformation


def opinions(num_draws=4, num_rows=6, num_classes=3, seed=0, sharpness=2.0):
    logits = sharpness * np.random.default_rng(seed).normal(size=(num_draws, num_rows, num_classes))
    exps = np.exp(logits)
    return exps / exps.sum(axis=-1, keepdims=True)


def information(said_SQC, rows):
    """I(y_1 ... y_n; w) by all configurations of labels."""
    joint_entropy, entropy_given = 0.0, 0.0
    for labels in product(range(said_SQC.shape[2]), repeat=len(rows)):
        chances_S = said_SQC[:, rows, list(labels)].prod(axis=1)
        joint_entropy -= chances_S.mean() * np.log(chances_S.mean())
        entropy_given -= (chances_S * np.log(chances_S)).mean()
    return joint_entropy - entropy_given


def test_gains_add_up_to_the_information_of_the_batch():
    said = opinions()
    joint = JointInformation(torch.from_numpy(said), most_configurations=81)
    batch = []
    for row in (2, 5, 0, 3):
        expected = [
            information(said, [*batch, other]) - (information(said, batch) if batch else 0) for other in range(6)
        ]
        np.testing.assert_allclose(joint.gains(), expected, atol=1e-12)
        joint.add(row, np.zeros(81))
        batch.append(row)


def test_drawn_configurations_come_near_all_of_them():
    said = torch.from_numpy(opinions(num_draws=6, sharpness=1.0))
    exact, drawn = JointInformation(said, 3**5), JointInformation(said, 9)
    rng = np.random.default_rng(0)
    for row in (0, 1):
        exact.add(row, rng.random(3**5))
        drawn.add(row, rng.random(9))
    exact.add(2, rng.random(3**5))
    found = []
    kept = drawn._likelihoods_MS
    for _ in range(150):
        drawn._likelihoods_MS = kept
        drawn.add(2, rng.random(9))
        found.append(drawn.gains())
    np.testing.assert_allclose(np.mean(found, axis=0), exact.gains(), rtol=0.1, atol=2e-3)


def test_a_copy_of_a_row_of_the_batch_adds_less_than_it_did():
    said = opinions(num_rows=2, sharpness=4.0)
    joint = JointInformation(torch.from_numpy(said[:, [0, 0, 1]]), 100)
    before = joint.gains()
    joint.add(0, np.zeros(100))
    after = joint.gains()
    assert after[1] < 0.7 * before[1]
    assert after[1] - before[1] < after[2] - before[2]


def test_no_more_than_the_draws_can_be_told():
    said = torch.from_numpy(opinions(num_draws=2, num_rows=40, sharpness=6.0))
    joint = JointInformation(said, 64)
    rng, told = np.random.default_rng(0), 0.0
    for row in range(40):
        told += joint.gains()[row]
        joint.add(row, rng.random(64))
    assert told == pytest.approx(np.log(2), abs=0.05)
    joint.start_anew()
    assert joint.gains().max() > 0.3


def test_blocks_change_nothing(monkeypatch):
    said = torch.from_numpy(opinions())
    joint = JointInformation(said, 81)
    joint.add(1, np.zeros(81))
    whole = joint.gains()
    monkeypatch.setattr("labelbench_ray.kernels.joint_information.BLOCK_BYTES", 1)
    np.testing.assert_allclose(joint.gains(), whole, atol=1e-14)
