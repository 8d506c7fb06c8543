"""Maps of a pool: neighbours stay neighbours, and rows lie beside the landmarks that they are like."""

import numpy as np
import pytest

from labelbench_ray.kernels.plane import FEWEST, lay_out


def clusters(num_each, width=20, seed=0):
    """Three clusters far apart, with their numbers."""
    rng = np.random.default_rng(seed)
    centres = 10 * np.eye(3, width)
    which = np.repeat(np.arange(3), num_each)
    return centres[which] + rng.normal(size=(3 * num_each, width)), which


def test_rows_of_a_cluster_have_it_around_them():
    landmarks, which = clusters(40)
    rows, of_rows = clusters(5, seed=1)
    plane = lay_out(landmarks, rows)
    assert plane.landmarks_S2.shape == (120, 2)
    distances = np.linalg.norm(plane.landmarks_S2[:, None] - plane.landmarks_S2, axis=2) + 9 * np.eye(120)
    assert (which[distances.argmin(axis=1)] == which).all()
    to_rows = np.linalg.norm(plane.rows_M2[:, None] - plane.landmarks_S2, axis=2)
    assert (which[to_rows.argmin(axis=1)] == of_rows).all()
    again = lay_out(landmarks, rows)
    np.testing.assert_array_equal(again.landmarks_S2, plane.landmarks_S2)


def test_points_fill_the_unit_square_along_one_axis():
    plane = lay_out(*(clusters(20)[0], clusters(2, seed=1)[0]))
    everything = np.concatenate(plane)
    assert everything.min() >= 0
    assert everything.max() <= 1
    spans = np.ptp(plane.landmarks_S2, axis=0)
    assert spans.max() == pytest.approx(1)


def test_a_row_that_equals_a_landmark_lies_on_it():
    landmarks, _ = clusters(20)
    plane = lay_out(landmarks.astype(np.float16), landmarks[[3, 50]].astype(np.float16))
    np.testing.assert_allclose(plane.rows_M2, plane.landmarks_S2[[3, 50]], atol=1e-6)


def test_the_scale_of_the_features_changes_nothing():
    landmarks, _ = clusters(20)
    few = landmarks[: FEWEST - 1]
    np.testing.assert_allclose(lay_out(1e6 * few, few[:0]).landmarks_S2, lay_out(few, few[:0]).landmarks_S2, atol=1e-9)


@pytest.mark.parametrize("num_rows", [1, 2, FEWEST - 1, FEWEST])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_few_rows_and_narrow_ones_have_a_place_too(num_rows, width):
    rows = np.random.default_rng(0).normal(size=(num_rows, width)).astype(np.float32)
    plane = lay_out(rows, rows[:1])
    assert np.isfinite(np.concatenate(plane)).all()
    assert plane.landmarks_S2.shape == (num_rows, 2)


def test_equal_rows_share_the_middle():
    plane = lay_out(np.ones((12, 4)), np.ones((2, 4)))
    assert (np.concatenate(plane) == 0.5).all()
