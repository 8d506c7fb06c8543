import numpy as np
import pytest
from gradient_rows import distances, rows_of, sample

from labelbench_ray.kernels.falls import Falls
from labelbench_ray.kernels.k_means_pp import TileOperands, draw_places, lowered_weights, walk


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1.0, 0)])
def test_a_row_without_weight_is_never_drawn(uniform):
    assert draw_places(np.array([0, 0, 0.1, 0, 0.3, 0, 0]), np.array([uniform]))[0] in (2, 4)


def test_places_are_drawn_in_proportion():
    drawn = draw_places(np.array([1.0, 0.0, 3.0]), (np.arange(400) + 0.5) / 400)
    assert np.bincount(drawn).tolist() == [100, 0, 300]


def walked(nearest, pairs, thresholds=None, wanted=99, allowed=np.inf):
    rows = rows_of(*sample(len(nearest)))
    exact = distances(rows, rows)
    row, mate = np.array(pairs, np.int64).reshape(-1, 2).T
    found = Falls(np.array(nearest, float), row, mate, exact[row, mate] * 0.9, exact[row, mate] * 1.1)
    return walk(rows, found, "multi_class", wanted=wanted, rejections_allowed=allowed), exact


def test_a_candidate_falls_to_an_accepted_one_but_not_to_one_that_fell():
    inf = np.inf
    result, exact = walked([inf, inf, 3.0, inf, inf], [(1, 0), (3, 1), (3, 2), (4, 3), (4, 0)])
    assert result.accepted.tolist() == [0, 3]
    assert result.rejected.tolist() == [1, 2, 4]
    np.testing.assert_array_equal(result.distances, [exact[1, 0], 3.0, min(exact[4, 0], exact[4, 3])])


def test_the_walk_ends_with_enough_rows_or_too_many_rejections():
    nearest = [np.inf, 1.0, np.inf, 1.0, 1.0, np.inf]
    enough, _ = walked(nearest, [], wanted=2)
    assert (enough.accepted.tolist(), enough.rejected.tolist()) == ([0, 2], [1])
    tried, _ = walked(nearest, [], allowed=1)
    assert (tried.accepted.tolist(), tried.rejected.tolist()) == ([0, 2], [1, 3])


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6], ids=["apart", "tight", "closer than products tell"])
def test_lowered_weights_are_never_below_the_distance_and_hardly_above(spread):
    probs, vectors = sample(300)
    base = np.arange(300) % 20
    rows = rows_of(probs[base], vectors[base] + np.float32(spread) * vectors)
    centres = rows.take(np.arange(0, 300, 7))
    exact = distances(rows, centres).min(axis=1)
    weights = np.full(300, 1e3)
    weights[5] = 0
    lowered = lowered_weights(weights, TileOperands.of(rows, "multi_class"), centres, "multi_class")
    assert lowered[5] == 0
    exact[5] = 0
    assert (lowered >= exact).all()
    assert np.median(lowered[exact > 0] / exact[exact > 0]) < 1.2


def test_copies_of_a_centre_weigh_nothing_and_many_centres_join():
    rows = rows_of(*sample(300))
    tile = TileOperands.of(rows, "multi_class")
    assert not lowered_weights(np.full(300, np.inf), tile, rows, "multi_class").any()
