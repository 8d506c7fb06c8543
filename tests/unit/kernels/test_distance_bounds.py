import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels import distance_bounds, products
from labelbench_ray.kernels.distance_bounds import (
    RoughRows,
    highest,
    just_above,
    lowest,
    not_above,
    squared_distance,
)

DTYPES = [torch.float32, torch.bfloat16]


def multiply_in(dtype, patch):
    for module in (products, distance_bounds):
        patch.setattr(module, "rough_dtype", lambda device="cpu": dtype)


def bounds_and_distances(rows, centres, origin):
    rough_rows, rough_centres = (RoughRows.of(part, origin, "cpu") for part in (rows, centres))
    low = lowest(rough_rows.rows_ND, rough_centres).double() + rough_rows.low_N[:, None]
    high = highest(rough_rows.rows_ND, rough_centres).double() + rough_rows.high_N[:, None]
    return low.numpy(), np.array([squared_distance(centres, row) for row in rows]), high.numpy()


def test_the_distance_of_copies_is_exactly_zero_and_ignores_where_a_row_lies():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 33)).astype(np.float32)
    centre = rng.normal(size=33).astype(np.float32)
    together = squared_distance(rows, centre)
    assert together.tolist() == [float(squared_distance(row, centre)) for row in rows]
    assert squared_distance(rows, rows).tolist() == [0.0] * 50


@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(DTYPES),
    width=st.sampled_from([1, 2, 17, 256]),
    exponent=st.integers(-44, 17),
    offset=st.sampled_from([0.0, 1.0, 1000.0]),
    spread=st.sampled_from([1.0, 1e-3]),
)
@settings(deadline=None, max_examples=150)
def test_bounds_hold_for_any_scale_and_origin(seed, dtype, width, exponent, offset, spread):
    rng = np.random.default_rng(seed)
    # Centres are copies of rows or close to them: the smaller the distance, the more of it a product loses.
    rows = rng.normal(size=(12, width)) + offset
    centres = rows[:8] + spread * rng.normal(size=(8, width)) * (rng.random((8, 1)) < 0.7)
    rows, centres = ((part * 10.0**exponent).astype(np.float32) for part in (rows, centres))
    with pytest.MonkeyPatch.context() as patch:
        multiply_in(dtype, patch)
        low, distance, high = bounds_and_distances(rows, centres, centres.mean(axis=0))
    assert (low <= distance).all()
    assert (distance <= high).all()


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_bounds_are_tight_where_the_origin_is_near(dtype, share, monkeypatch):
    multiply_in(dtype, monkeypatch)
    rng = np.random.default_rng(2)
    rows, centres = (100 + rng.normal(size=(20, 64)).astype(np.float32) for _ in range(2))
    low, distance, high = bounds_and_distances(rows, centres, rows.mean(axis=0))
    assert ((high - low) < share * distance).all()


@given(seed=st.integers(0, 1000), width=st.sampled_from([1, 3, 300]), exponent=st.integers(-44, 17))
@settings(deadline=None, max_examples=60)
def test_just_above_is(seed, width, exponent):
    rng = np.random.default_rng(seed)
    left = (rng.normal(size=(9, width)) * 10.0**exponent).astype(np.float32)
    right = (left * (1 + rng.normal(size=(9, width)))).astype(np.float32)
    exact = squared_distance(left, right)
    above = just_above(left, right)
    assert (above >= exact).all()
    assert (above <= exact * 1.0001 + 2 * distance_bounds.UNDERFLOW).all()


def test_what_overflows_rules_nothing_out():
    rows = np.array([[3e30, 1.0], [1.0, 1.0]], np.float32)
    rough = RoughRows.of(rows, np.zeros(2, np.float32), "cpu")
    found = not_above(lowest(rough.rows_ND, rough).numpy(), np.array([-1.0, -1e-3]))
    assert {(int(t), int(b)) for t, b in zip(*found, strict=True)} >= {(0, 0), (0, 1)}
    assert just_above(rows[:1], rows[1:]).tolist() == [np.inf]


def test_a_bound_at_the_bar_is_not_above_it():
    lowest_TB = np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]], np.float32)
    rows, columns = not_above(lowest_TB, np.array([1.0, -np.inf]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (0, 2)]
