import numpy as np
import pytest

from labelbench_ray.kernels import k_center
from labelbench_ray.kernels.distance_bounds import squared_distance
from labelbench_ray.kernels.k_center import Outsider, Proposal, pick_greedily

NOBODY = Outsider(-np.inf, -1)


def proposal(vectors, distances, outsider=NOBODY, first_id=0):
    vectors = np.array(vectors, np.float32)
    return Proposal(np.arange(len(vectors)) + first_id, np.array(distances, float), vectors, outsider)


def test_picks_the_farthest_then_the_farthest_from_that():
    picked = pick_greedily([proposal([[3], [4], [-2]], [9, 16, 4])], 3)
    assert picked.ids.tolist() == [1, 2, 0]
    assert picked.vectors_BD.tolist() == [[4], [-2], [3]]


def test_tells_the_distances_that_are_left():
    picked = pick_greedily([proposal([[4], [3], [-2]], [16, 9, 4])], 1)
    assert picked.ids_M.tolist() == [0, 1, 2]
    assert picked.distances_M.tolist() == [-np.inf, 1, 4]


def test_the_proposals_are_left_as_they_were():
    asked = proposal([[4], [3]], [16, 9])
    pick_greedily([asked], 2)
    assert asked.distances_M.tolist() == [16, 9]


def test_ties_go_to_the_lowest_id_of_any_shard():
    high, low = proposal([[5], [-5]], [25, 25], first_id=10), proposal([[1], [5]], [1, 25], first_id=2)
    assert pick_greedily([high, low], 4).ids.tolist() == [3, 11, 2, 10]


def test_nothing_is_picked_while_a_row_that_was_not_proposed_may_be_farther():
    assert pick_greedily([proposal([[3]], [9], Outsider(9.0, 0), first_id=5)], 1).ids.tolist() == []
    assert pick_greedily([proposal([[3]], [9], Outsider(9.0, 6), first_id=5)], 1).ids.tolist() == [5]


def test_a_pick_is_the_last_when_the_others_are_no_farther_than_a_row_outside():
    parts = [proposal([[10], [9]], [100, 81], Outsider(30.0, 7)), proposal([[-8]], [64], first_id=9)]
    assert pick_greedily(parts, 3).ids.tolist() == [0, 9]


@pytest.mark.parametrize("at_once", [1, 5, 128])
def test_equals_the_loop_over_all_distances(at_once, monkeypatch):
    monkeypatch.setattr(k_center, "PICKS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 3)).astype(np.float32)
    vectors[30:] = vectors[:10]
    nearest = squared_distance(vectors, vectors[0])
    left, expected = nearest.copy(), []
    for _ in range(40):
        expected.append(int(left.argmax()))
        left = np.minimum(left, squared_distance(vectors, vectors[expected[-1]]))
        left[expected] = -np.inf
    assert pick_greedily([proposal(vectors, nearest)], 40).ids.tolist() == expected
