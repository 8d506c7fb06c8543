import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from learning import ArrayRows, all_embeddings, all_probs

from labelbench_ray.trainers.scores import Head, HeadScores, StoredScores, has_tile, write_tile


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    layers = tuple(
        (rng.normal(size=(fan_out, fan_in)).astype(np.float32), rng.normal(size=fan_out).astype(np.float32))
        for fan_in, fan_out in ((300, 40), (40, 7))
    )
    head = Head(rng.normal(size=300).astype(np.float32), rng.uniform(0.5, 2, 300).astype(np.float32), layers)
    return HeadScores(ArrayRows(rng.normal(size=(1000, 300)).astype(np.float16)), head, 256)


def test_scores_are_the_heads(scores):
    head = scores.head
    hidden = (scores.rows.rows_ND.astype(np.float64) - head.mean_D) * head.scale_D
    (first, first_bias), (last, last_bias) = head.layers
    hidden = np.maximum(hidden @ first.T + first_bias, 0)
    exponents = np.exp((logits := hidden @ last.T + last_bias) - logits.max(1, keepdims=True))
    np.testing.assert_allclose(all_embeddings(scores), hidden, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(all_probs(scores), exponents / exponents.sum(1, keepdims=True), atol=1e-4)
    assert (scores.num_rows, scores.num_classes) == (1000, 7)


def test_bits_depend_on_neither_threads_nor_process_copies(scores):
    expected, before = all_probs(scores), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(all_probs(scores), expected)
    finally:
        torch.set_num_threads(before)
    with ThreadPoolExecutor(3) as threads:
        tiles = list(threads.map(pickle.loads(pickle.dumps(scores)).probs, [3, 1, 0, 2]))
    np.testing.assert_array_equal(np.concatenate([tiles[2], tiles[1], tiles[3], tiles[0]])[:1000], expected)
    # numpy's memory is aligned as it happens; the product must not see it.
    shifted = np.empty(300 * 40 + 1, np.float32)[1:].reshape(40, 300)
    shifted[...] = scores.head.layers[0][0]
    head = Head(scores.head.mean_D, scores.head.scale_D, ((shifted, scores.head.layers[0][1]), scores.head.layers[1]))
    np.testing.assert_array_equal(all_probs(HeadScores(scores.rows, head, 256)), expected)


def test_a_row_scores_the_same_in_a_padded_tile(scores):
    short = HeadScores(ArrayRows(scores.rows.rows_ND[:300]), scores.head, 256)
    np.testing.assert_array_equal(all_probs(short), all_probs(scores)[:300])
    assert np.isfinite(short.probs(1)).all()
    assert short.probs(1).shape == (256, 7)


def test_stored_scores_read_what_was_written_and_pickle_as_a_path(tmp_path):
    rng = np.random.default_rng(0)
    written = [(rng.random((4, 3), np.float32), rng.random((4, 6), np.float32)) for _ in range(2)]
    assert not has_tile(tmp_path, 0)
    for tile, pair in enumerate(written):
        write_tile(tmp_path, tile, *pair)
    packed = pickle.dumps(StoredScores(tmp_path, 7, 3, 4))
    assert len(packed) < 500
    scores = pickle.loads(packed)
    for tile, (probs, embeddings) in enumerate(written):
        np.testing.assert_array_equal(scores.probs(tile), probs)
        np.testing.assert_array_equal(scores.embeddings(tile), embeddings)
    assert has_tile(tmp_path, 1)
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")) == []
