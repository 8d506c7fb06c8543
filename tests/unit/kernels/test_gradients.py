import numpy as np
import pytest
from gradient_rows import distances, rows_of, sample

from labelbench_ray.kernels.gradients import Gradients, length_bounds, residuals, squared_lengths


def outer_products(probs, vectors, task="multi_class"):
    q = residuals(probs, task).astype(np.longdouble)
    return np.einsum("nc,nd->ncd", q, vectors.astype(np.longdouble)).reshape(len(q), -1)


def test_residuals_are_probabilities_less_the_predicted_class():
    np.testing.assert_allclose(residuals(np.array([[0.2, 0.7, 0.1]]), "multi_class"), [[0.2, -0.3, 0.1]])


def test_residuals_of_labels_are_taken_one_by_one():
    np.testing.assert_allclose(residuals(np.array([[0.2, 0.7, 0.9]]), "multi_label"), [[0.2, -0.3, -0.1]])


def test_the_length_of_a_sure_row_does_not_cancel():
    q_norms, v_norms = squared_lengths(np.array([[1 - 1e-9, 1e-9]]), np.array([[3.0, 4.0]], np.float32), "multi_class")
    np.testing.assert_allclose(q_norms, [2e-18], rtol=1e-6)
    assert v_norms.tolist() == [25.0]


def test_distances_are_those_of_the_outer_products():
    probs, vectors = sample(90)
    outer = outer_products(probs, vectors)
    expected = np.square(outer[:, None] - outer[None]).sum(axis=2)
    rows = rows_of(probs, vectors)
    np.testing.assert_allclose(distances(rows, rows), expected.astype(float), rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(rows.a, np.square(outer).sum(axis=1).astype(float), rtol=1e-12)


def test_copies_are_at_zero_and_what_differs_in_the_last_bit_is_not():
    probs, vectors = sample(40)
    rows = rows_of(probs, vectors)
    assert np.diag(distances(rows, rows_of(probs.copy(), vectors.copy()))).tolist() == [0.0] * 40
    moved = vectors.copy()
    moved[:, 2] = np.nextafter(moved[:, 2], np.inf)
    expected = np.square(outer_products(probs, vectors) - outer_products(probs, moved)).sum(axis=1)
    close = np.diag(distances(rows, rows_of(probs, moved)))
    assert (close > 0).all()
    np.testing.assert_allclose(close, expected.astype(float), rtol=1e-6)


def hard_rows():
    probs, vectors = sample(200, num_classes=30, width=40)
    logits = np.log(probs) * 30
    sure = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure /= sure.sum(axis=1, keepdims=True)
    one_hot = np.eye(30, dtype=np.float32)[np.arange(200) % 30]
    return {
        "plain": (probs, vectors),
        "double precision": (probs.astype(float), vectors.astype(float)),
        "sure": (sure, vectors),
        "sure in double precision": (sure.astype(float), vectors),
        "certain": (one_hot, vectors),
        "half of them certain": (np.where(np.arange(200)[:, None] % 2, probs, one_hot), vectors),
        "zero vectors": (probs, 0 * vectors),
        "tiny vectors": (probs, vectors * np.float32(1e-25)),
        "huge vectors": (probs, vectors * np.float32(1e25)),
    }


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("kind", hard_rows())
def test_bounds_of_lengths_are_never_below_and_hardly_above(kind, task):
    probs, vectors = hard_rows()[kind]
    probs.setflags(write=False)  # as a mapped file gives them
    exact = np.prod(squared_lengths(probs, vectors, task), axis=0)
    bounds = length_bounds(probs, vectors, task)
    assert (bounds >= exact).all()
    assert bounds.sum() <= exact.sum() * 1.05


def test_parts_of_a_block_are_laid_together_at_their_places():
    rows = rows_of(*sample(9))
    places = [np.array([8, 0, 3]), np.empty(0, np.int64), np.array([1, 2, 4, 5, 6, 7])]
    together = Gradients.laid_together([rows.take(own) for own in places], places)
    for column, expected in zip(together, rows, strict=True):
        np.testing.assert_array_equal(column, expected)
        assert column.dtype == expected.dtype
