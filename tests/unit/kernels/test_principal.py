import functools

import numpy as np
import pytest

from labelbench_ray.kernels import principal
from labelbench_ray.kernels.principal import joined, principal_directions, projected, tile_moments


def moments_of(rows, tile_rows=7):
    everything = np.ones(tile_rows, bool)
    parts = [tile_moments(rows[first : first + tile_rows], everything) for first in range(0, len(rows), tile_rows)]
    return functools.reduce(joined, parts)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return (100 + rng.normal(size=(70, 6)) * [1, 9, 3, 1, 5, 0.1]).astype(np.float32)


def test_moments_of_tiles_join_to_those_of_all_rows(rows, monkeypatch):
    monkeypatch.setattr(principal, "COLUMNS_AT_ONCE", 4)
    moments = moments_of(rows)
    centred = rows - rows.mean(axis=0, dtype=float)
    assert moments.num_rows == 70
    np.testing.assert_allclose(moments.mean_D, rows.mean(axis=0, dtype=float), rtol=1e-7)
    np.testing.assert_allclose(np.triu(moments.scatter_DD), np.triu(centred.T @ centred), rtol=1e-4, atol=1e-3)


def test_rows_that_are_not_usable_do_not_count(rows):
    usable = np.arange(10) % 3 > 0
    some, kept = tile_moments(rows[:10], usable), tile_moments(rows[:10][usable], np.ones(6, bool))
    assert some.num_rows == 6
    np.testing.assert_allclose(some.mean_D, kept.mean_D)
    np.testing.assert_allclose(some.scatter_DD, kept.scatter_DD, rtol=1e-5)


def test_a_tile_without_usable_rows_joins_as_nothing(rows):
    nothing = tile_moments(rows[:7], np.zeros(7, bool))
    some = tile_moments(rows[7:14], np.ones(7, bool))
    for moments in (joined(nothing, some), joined(some, nothing)):
        assert moments.num_rows == 7
        np.testing.assert_allclose(moments.mean_D, some.mean_D)
        np.testing.assert_allclose(moments.scatter_DD, some.scatter_DD)


def test_directions_are_those_of_largest_variance_in_descending_order(rows):
    directions = principal_directions(moments_of(rows), 3).numpy()
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    along = (rows - rows.mean(axis=0)) @ directions
    expected = np.linalg.eigvalsh(np.cov(rows.T.astype(float), bias=True))[::-1][:3]
    np.testing.assert_allclose(along.var(axis=0), expected, rtol=1e-4)


def test_there_are_no_more_directions_than_dimensions(rows):
    assert principal_directions(moments_of(rows), 30).shape == (6, 6)


def test_projection_centres_and_turns_rows(rows, monkeypatch):
    monkeypatch.setattr(principal, "ROWS_AT_ONCE", 16)
    mean = np.arange(6.0)
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 2)))[0]
    np.testing.assert_allclose(projected(rows, mean, directions).numpy(), (rows - mean) @ directions, rtol=1e-12)
    np.testing.assert_array_equal(projected(rows, mean, None).numpy(), rows - mean)
