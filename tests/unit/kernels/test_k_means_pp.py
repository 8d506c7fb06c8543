import numpy as np
import pytest

from labelbench_ray.kernels.k_means_pp import (
    Candidates,
    Gradients,
    TileGradients,
    distance_to_nearest,
    distances_to,
    draw_places,
    residuals,
    walk,
)


def gradients_of(probs, embeddings, task="multi_class"):
    q, norms = residuals(probs, task)
    a = norms * np.square(embeddings, dtype=float).sum(axis=1)
    return Gradients(np.arange(len(probs)), a, q.astype(np.float32), embeddings.astype(np.float32))


def sample(num_rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(4), num_rows), rng.normal(size=(num_rows, 6)).astype(np.float32)


def test_residuals_are_probabilities_less_the_predicted_class():
    q, norms = residuals(np.array([[0.2, 0.7, 0.1]]), "multi_class")
    np.testing.assert_allclose(q, [[0.2, -0.3, 0.1]])
    np.testing.assert_allclose(norms, [0.14])


def test_residuals_of_labels_are_taken_one_by_one():
    np.testing.assert_allclose(residuals(np.array([[0.2, 0.7, 0.9]]), "multi_label")[0], [[0.2, -0.3, -0.1]])


def test_the_norm_of_a_sure_row_does_not_cancel():
    _, norms = residuals(np.array([[1 - 1e-9, 1e-9]]), "multi_class")
    np.testing.assert_allclose(norms, [2e-18], rtol=1e-6)


def test_distances_are_those_of_the_outer_products():
    probs, embeddings = sample(20)
    rows = gradients_of(probs, embeddings)
    outer = np.einsum("nc,nd->ncd", residuals(probs, "multi_class")[0], embeddings).reshape(20, -1)
    expected = np.square(outer[:, None] - outer[None]).sum(axis=2)
    tile = TileGradients.of(probs, embeddings, "multi_class")
    np.testing.assert_allclose(distances_to(tile, rows), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tile.a_T, np.square(outer).sum(axis=1), rtol=1e-6)


def test_copies_are_at_distance_zero_and_blocks_of_centres_join():
    probs, embeddings = sample(20)
    many = gradients_of(*sample(600, seed=1))
    tile = TileGradients.of(probs, embeddings, "multi_class")
    np.testing.assert_allclose(distance_to_nearest(tile, many), distances_to(tile, many).min(axis=1), rtol=1e-5)
    assert distance_to_nearest(tile, gradients_of(probs, embeddings)).tolist() == [0.0] * 20


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1.0, 0)])
def test_a_row_without_weight_is_never_drawn(uniform):
    assert draw_places(np.array([0, 0, 0.1, 0, 0.3, 0, 0]), np.array([uniform]))[0] in (2, 4)


def test_places_are_drawn_in_proportion():
    drawn = draw_places(np.array([1.0, 0.0, 3.0]), (np.arange(400) + 0.5) / 400)
    assert np.bincount(drawn).tolist() == [100, 0, 300]


def block(ids, stale):
    drawn = gradients_of(*sample(len(ids)))._replace(ids_N=np.array(ids))
    return Candidates(drawn, np.array(stale))


NOTHING = gradients_of(*sample(1)).take(np.empty(0, np.int64))


def test_a_candidate_is_accepted_once_and_by_its_current_distance():
    candidates = block([7, 7, 8], [1.0, 1.0, 1e9])
    candidates.gradients.v_ND[1] = candidates.gradients.v_ND[0]
    result = walk(candidates, NOTHING, np.array([0.99, 0.0, 0.99]), 3, np.inf)
    assert result.accepted.tolist() == [0]  # the second is the first again; the third's stale weight is far too large
    assert result.rejections == 2


def test_a_centre_the_weights_have_not_seen_is_not_accepted_again():
    candidates = block([7, 8], [1.0, 1.0])
    result = walk(candidates, candidates.gradients.take(np.array([0])), np.zeros(2), 2, np.inf)
    assert result.accepted.tolist() == [1]


def test_the_walk_ends_with_enough_rows_or_too_many_rejections():
    candidates = block([1, 2, 3, 4], [1e-3, 1e-3, 1e-3, 1e-3])
    assert walk(candidates, NOTHING, np.zeros(4), 2, np.inf).accepted.tolist() == [0, 1]
    stopped = walk(block([5, 5, 5, 1], [1e-3] * 4), NOTHING, np.array([0, 0.1, 0.1, 0]), 4, 1)
    assert stopped.accepted.tolist() == [0]
    assert stopped.rejections == 2
