import numpy as np
import pytest
import torch

from labelbench_ray.kernels.posterior import opinions
from labelbench_ray.kernels.predictive_information import outcomes_of, predictive_information
from labelbench_ray.seeding import stream


def made_up(num_rows=12, width=4, num_classes=3, num_draws=5, num_targets=7):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(num_draws, num_classes, width + 1)).astype(np.float32)
    probs = rng.dirichlet(np.ones(num_classes), size=num_rows)
    targets = rng.dirichlet(np.ones(num_classes), size=(num_draws, num_targets))
    return probs, rng.normal(size=(num_rows, width)), draws, targets


def information_of(probs, embeddings, draws, targets, most=1000, seed=0):
    return predictive_information(probs, embeddings, draws, outcomes_of(targets, most, stream(seed, "test")))


def information(joint):
    """Of one label on the other, as the divergence of their joint distribution from independence."""
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return (joint * np.log(joint / apart)).sum()


def by_a_loop(probs, embeddings, draws, targets):
    said_TSC = torch.cat(list(opinions(probs, embeddings, draws, "multi_class")), dim=1).numpy()
    each = [
        [np.mean([np.outer(p, q) for p, q in zip(said_SC, targets[:, target], strict=True)], axis=0)
         for target in range(targets.shape[1])]
        for said_SC in said_TSC
    ]  # fmt: skip
    return [np.mean([information(joint) for joint in of_row]) for of_row in each]


@pytest.mark.parametrize("block_bytes", [1, 2000, 8 << 20])
def test_equals_a_loop_over_rows_and_targets_whatever_the_blocks(block_bytes, monkeypatch):
    monkeypatch.setattr("labelbench_ray.kernels.joint_information.BLOCK_BYTES", block_bytes)
    made = made_up()
    np.testing.assert_allclose(information_of(*made), by_a_loop(*made), atol=1e-12)


def test_drawn_outcomes_come_near_all_of_them():
    made = made_up()
    drawn = np.mean([information_of(*made, most=20, seed=seed) for seed in range(200)], axis=0)
    np.testing.assert_allclose(drawn, by_a_loop(*made), rtol=0.15, atol=5e-3)


def test_outcomes_are_drawn_by_their_probability():
    targets = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    drawn = outcomes_of(targets, 3, stream(0, "test"))
    assert drawn.chances_O.tolist() == [1 / 3] * 3
    likelihoods = np.concatenate([outcomes_of(targets, 3, stream(seed, "test")).likelihoods_OS for seed in range(500)])
    of_first = np.isclose(likelihoods[:, 0], 0.9 / 1.4).mean()
    assert of_first == pytest.approx(0.35, abs=0.05)


def test_a_row_that_settles_the_target_tells_all_of_it():
    """Two draws that are sure and disagree, on the row and on the target: one label gives the other away."""
    draws = np.array([[[100.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [100.0, 0.0]]], np.float32)
    probs, embeddings = np.full((2, 2), 0.5), np.array([[1.0], [0.0]])
    targets = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    found = information_of(probs, embeddings, draws, targets)
    np.testing.assert_allclose(found, [np.log(2), 0.0], atol=1e-12)


def test_a_target_on_which_draws_agree_is_told_nothing():
    probs, embeddings, draws, targets = made_up()
    alike = np.broadcast_to(targets[:1], targets.shape).copy()
    np.testing.assert_allclose(information_of(probs, embeddings, draws, alike), 0, atol=1e-12)
