import numpy as np
import pytest
import torch

from labelbench_ray.kernels import fisher_objective
from labelbench_ray.kernels.fisher import FisherRows, fisher_sum
from labelbench_ray.kernels.fisher_objective import Factored, FisherObjective, mean_eigenvalue

WIDTH = 5
RIDGE = 0.3


def some_rows(num_classes, num_top=None, num_rows=20, seed=0):
    rng = np.random.default_rng(seed)
    probs_BC = rng.dirichlet(np.ones(num_classes), num_rows)
    return FisherRows(torch.from_numpy(rng.normal(size=(num_rows, WIDTH))), torch.from_numpy(probs_BC), num_top)


def dense(rows):
    """(B, n, n) Fisher matrices on an orthonormal basis of the class vectors that sum to 0."""
    num_classes = rows.probs_BC.shape[1]
    basis_CR = np.linalg.qr(np.ones((num_classes, 1)), mode="complete")[0][:, 1:]
    found = []
    for x_D, probs_C in zip(rows.x_BD.numpy(), rows.probs_BC.numpy(), strict=True):
        classes = np.argsort(-probs_C)[: rows.num_top]
        weights = probs_C[classes] / probs_C[classes].sum()
        gradients = (np.eye(num_classes)[classes] - probs_C) @ basis_CR
        found.append(np.kron(np.outer(x_D, x_D), (gradients.T * weights) @ gradients))
    return np.array(found)


def value(pool, chosen, ridge=RIDGE):
    return np.trace(np.linalg.solve(ridge * np.eye(pool.shape[1]) + pool[chosen].sum(axis=0), pool.sum(axis=0)))


def objective_of(rows, chosen, ridge=RIDGE):
    chosen_rows = rows.take(torch.tensor(chosen))
    return FisherObjective(fisher_sum(rows), fisher_sum(chosen_rows), rows.probs_BC.shape[1] - 1, WIDTH, ridge)


@pytest.fixture(params=[512, 4, 1], ids=["one panel", "few panels", "a panel per direction"])
def panel_width(request, monkeypatch):
    monkeypatch.setattr(fisher_objective, "PANEL_WIDTH", request.param)


every_form = pytest.mark.parametrize(("num_classes", "num_top"), [(2, None), (3, None), (4, None), (4, 2), (4, 1)])


@every_form
def test_the_value_stays_that_of_the_dense_formula_while_rows_come_and_go(panel_width, num_classes, num_top):
    rows = some_rows(num_classes, num_top)
    matrices = dense(rows)
    objective = objective_of(rows, [0, 1, 2, 3])
    assert objective.value == pytest.approx(value(matrices, [0, 1, 2, 3]), rel=1e-10)
    for changed, signs, chosen in [
        ([2, 9], [-1, 1], [0, 1, 9, 3]),
        ([7], [1], [0, 1, 9, 3, 7]),
        ([0], [-1], [1, 9, 3, 7]),
        ([1, 3, 11], [-1, -1, 1], [9, 7, 11]),
    ]:
        objective.change(Factored.of(rows.take(torch.tensor(changed))), tuple(signs))
        assert objective.value == pytest.approx(value(matrices, chosen), rel=1e-9)


@every_form
def test_what_is_kept_after_changes_is_what_a_new_start_gives(panel_width, num_classes, num_top):
    rows = some_rows(num_classes, num_top)
    objective = objective_of(rows, [0, 1, 2, 3])
    objective.change(Factored.of(rows.take(torch.tensor([2, 9]))), (-1, 1))
    fresh = objective_of(rows, [0, 1, 9, 3])
    np.testing.assert_allclose(objective.matrices().numpy(), fresh.matrices().numpy(), atol=1e-9)


@every_form
def test_swap_gains_are_those_of_the_dense_formula(panel_width, num_classes, num_top):
    rows = some_rows(num_classes, num_top)
    matrices = dense(rows)
    before = value(matrices, [0, 1, 2, 3])
    gains = objective_of(rows, [0, 1, 2, 3]).swap_gains(Factored.of(rows.take(torch.tensor([2, 5, 6, 7]))))
    expected = [before - value(matrices, [0, 1, other, 3]) for other in (5, 6, 7)]
    np.testing.assert_allclose(gains, expected, rtol=1e-8, atol=1e-9)


def test_without_others_there_is_nothing_to_gain():
    rows = some_rows(3)
    assert objective_of(rows, [0, 1]).swap_gains(Factored.of(rows.take(torch.tensor([1])))).shape == (0,)


def test_a_singular_sum_gets_a_small_ridge():
    rows = some_rows(3)
    objective = objective_of(rows, [0], ridge=0.0)
    assert np.isfinite(objective.value)
    assert objective.value > value(dense(rows), [0], ridge=1e-6)


def test_a_pool_that_tells_nothing_has_the_value_zero():
    rows = some_rows(3)._replace(x_BD=torch.zeros(20, WIDTH, dtype=torch.float64))
    assert objective_of(rows, [0, 1], ridge=0.0).value == 0


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_mean_eigenvalue_is_that_on_vectors_that_sum_to_zero(num_classes):
    rows = some_rows(num_classes)
    expected = np.linalg.eigvalsh(dense(rows).sum(axis=0)).mean()
    assert mean_eigenvalue(fisher_sum(rows), num_classes - 1, WIDTH) == pytest.approx(expected)
