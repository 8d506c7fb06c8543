import numpy as np
import pytest
import torch

from labelbench_ray.kernels import fisher
from labelbench_ray.kernels.fisher import (
    FisherRows,
    class_factors,
    class_probabilities,
    fisher_sum,
    gains,
    pair_tables,
    whole_matrix,
)

WIDTH = 3


def class_matrix(probs_C, num_top):
    """The expectation of (e_y - p)(e_y - p)^T over the most probable classes, written out."""
    classes = np.argsort(-probs_C, kind="stable")[:num_top]
    weights = probs_C[classes] / probs_C[classes].sum()
    gradients = np.eye(len(probs_C))[classes] - probs_C
    return np.einsum("y,yc,yd->cd", weights, gradients, gradients)


def dense(rows):
    """(B, n, n) Fisher matrices without the last class."""
    matrices = [class_matrix(probs_C, rows.num_top)[:-1, :-1] for probs_C in rows.probs_BC.numpy()]
    return np.array(
        [np.kron(np.outer(x_D, x_D), matrix) for x_D, matrix in zip(rows.x_BD.numpy(), matrices, strict=True)]
    )


def some_rows(num_classes=4, num_top=None, num_rows=7, seed=0):
    rng = np.random.default_rng(seed)
    probs_BC = rng.dirichlet(np.full(num_classes, 0.5), num_rows)
    return FisherRows(torch.from_numpy(rng.normal(size=(num_rows, WIDTH))), torch.from_numpy(probs_BC), num_top)


every_form = pytest.mark.parametrize(
    ("num_classes", "num_top"), [(2, None), (3, None), (4, None), (4, 1), (4, 2), (4, 9), (2, 1)]
)


@every_form
def test_factors_multiply_to_the_expected_squared_gradient(num_classes, num_top):
    rows = some_rows(num_classes, num_top)
    factors = class_factors(rows).numpy()
    expected = [class_matrix(probs_C, num_top)[:-1, :-1] for probs_C in rows.probs_BC.numpy()]
    np.testing.assert_allclose(factors @ factors.swapaxes(1, 2), expected, atol=1e-14)


@every_form
def test_a_sum_over_pairs_unfolds_to_the_sum_of_the_dense_matrices(monkeypatch, num_classes, num_top):
    monkeypatch.setattr(fisher, "ROWS_AT_ONCE", 3)
    rows = some_rows(num_classes, num_top)
    total = whole_matrix(fisher_sum(rows), num_classes - 1, WIDTH)
    np.testing.assert_allclose(total.numpy(), dense(rows).sum(axis=0), atol=1e-13)


def test_the_sum_over_no_rows_is_zero():
    assert not fisher_sum(some_rows(num_rows=0)).any()


@pytest.mark.parametrize("sign", [1, -1])
@every_form
def test_gains_are_what_the_objective_falls_by(monkeypatch, num_classes, num_top, sign):
    monkeypatch.setattr(fisher, "GAIN_BYTES", 2000)  # a few rows at a time
    rows = some_rows(num_classes, num_top)
    order = (num_classes - 1) * WIDTH
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, order, order))
    matrix, pool = 30 * np.eye(order) + roots[0] @ roots[0].T, roots[1] @ roots[1].T
    inverse = np.linalg.inv(matrix)
    both = torch.from_numpy(np.array([inverse, inverse @ pool @ inverse]))
    found = gains(pair_tables(both, num_classes - 1, WIDTH), rows, sign)
    before = np.trace(inverse @ pool)
    expected = [before - np.trace(np.linalg.solve(matrix + sign * own, pool)) for own in dense(rows)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_saturated_row_tells_nothing():
    rows = FisherRows(torch.ones(2, WIDTH, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[[0, 2]])
    assert not fisher_sum(rows).any()
    assert not class_factors(rows).any()
    assert not class_factors(rows._replace(num_top=2)).any()


def test_of_equally_probable_classes_the_first_are_the_top_ones():
    rows = FisherRows(torch.ones(1, WIDTH, dtype=torch.float64), torch.full((1, 4), 0.25, dtype=torch.float64), 2)
    np.testing.assert_allclose(
        (class_factors(rows) @ class_factors(rows).mT)[0].numpy(),
        class_matrix(np.full(4, 0.25), 2)[:-1, :-1],
        atol=1e-15,
    )


def test_probabilities_are_scaled_to_sum_to_one_and_left_as_they_were():
    given = np.array([[0.2, 0.2, 0.4], [0.0, 0.0, 0.0]], np.float32)
    given.setflags(write=False)
    scaled = class_probabilities(given, "none").numpy()
    np.testing.assert_allclose(scaled, [[0.25, 0.25, 0.5], [0, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(class_probabilities(given, "binary").numpy()[0], [0.5, 0.5], atol=1e-7)


def test_binary_is_the_fisher_matrix_of_being_right():
    probs_BC = np.array([[0.7, 0.2, 0.1]])
    rows = FisherRows(torch.ones(1, WIDTH, dtype=torch.float64), class_probabilities(probs_BC, "binary"))
    np.testing.assert_allclose(whole_matrix(fisher_sum(rows), 1, WIDTH).numpy(), np.full((3, 3), 0.7 * 0.3))
