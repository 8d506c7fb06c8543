import numpy as np
import pytest

from labelbench_ray.kernels.k_center import Centres, Outsider, Proposal, lower_bounds, pick_greedily, squared_distance
from labelbench_ray.kernels.products import operand, squared_norms

NOBODY = Outsider(-np.inf, -1)


def proposal(vectors, bounds, outsider=NOBODY, first_id=0):
    vectors = np.array(vectors, np.float32)
    return Proposal(np.arange(len(vectors)) + first_id, np.array(bounds, float), vectors, outsider)


def test_the_distance_of_copies_is_exactly_zero_and_ignores_where_a_row_lies():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 33)).astype(np.float32)
    centre = rng.normal(size=33).astype(np.float32)
    together = squared_distance(rows, centre)
    assert together.tolist() == [float(squared_distance(row, centre)) for row in rows]
    assert squared_distance(rows, rows).tolist() == [0.0] * 50


@pytest.mark.parametrize("num_centres", [1, 7, 300])
def test_lowered_bounds_are_distances_to_the_nearest_centre_and_never_below(num_centres):
    rng = np.random.default_rng(1)
    rows, centres = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(num_centres, 6)).astype(np.float32)
    nearest = np.array([squared_distance(centres, row).min() for row in rows])
    lowered = lower_bounds(np.full(40, np.inf), operand(rows), squared_norms(rows), Centres(centres))
    np.testing.assert_allclose(lowered, nearest, rtol=1e-5)
    assert (lowered >= nearest).all()


def test_a_bound_is_never_raised():
    rows = np.zeros((2, 3), np.float32)
    bounds = np.array([0.5, -np.inf])
    assert lower_bounds(bounds, operand(rows), squared_norms(rows), Centres(np.ones((1, 3)))).tolist() == [0.5, -np.inf]


def test_picks_the_farthest_then_the_farthest_from_that():
    picked = pick_greedily([proposal([[3], [4], [-2]], [9, 16, 4])], np.zeros((1, 1), np.float32), {}, 3)
    assert picked.ids == [1, 2, 0]


def test_a_stale_bound_is_brought_up_to_date_before_it_counts():
    known = {}
    centres = np.array([[0], [9]], np.float32)
    picked = pick_greedily([proposal([[9.5], [4]], [90.25, 16])], centres, known, 1)
    assert picked.ids == [1]
    assert picked.bounds_M[0] == 0.25
    assert known[0] == (0.25, 2)


def test_nothing_is_picked_while_a_row_that_was_not_proposed_may_be_farther():
    centres = np.zeros((1, 1), np.float32)
    near_tie = [proposal([[3]], [9], Outsider(9.0, 0), first_id=5)]
    assert pick_greedily(near_tie, centres, {}, 1).ids == []
    assert pick_greedily([proposal([[3]], [9], Outsider(9.0, 6), first_id=5)], centres, {}, 1).ids == [5]


def test_what_is_known_is_only_extended():
    known = {0: (4.0, 2)}
    centres = np.array([[0], [0], [3]], np.float32)  # the first two are not looked at again
    picked = pick_greedily([proposal([[5]], [25])], centres, known, 1)
    assert known == {0: (4.0, 3)}
    assert picked.ids == [0]
