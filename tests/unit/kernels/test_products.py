import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pools import random_pool

from labelbench_ray.kernels.products import (
    operand,
    over_tiles,
    padded_operand,
    passing_operand,
    product,
    single_threaded,
    squared_norms,
)
from labelbench_ray.strategies.base import Needs


@pytest.fixture(params=[1, 2])
def trial_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_the_setting_of_the_trial_is_put_back_after_an_error_too(trial_threads):
    with contextlib.suppress(KeyError), single_threaded():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == trial_threads


def test_threads_over_tiles_multiply_on_one_thread_each(trial_threads):
    (rows,) = random_pool().shard_rows(Needs(embeddings=True), 1, threads=3)
    assert over_tiles(rows, lambda tile: (tile, torch.get_num_threads())) == [(tile, 1) for tile in rows.tiles()]


def test_products_have_the_same_bits_whatever_threads_the_trial_has():
    rng = np.random.default_rng(0)
    left, right = operand(rng.normal(size=(512, 300))), operand(rng.normal(size=(40, 300)))
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        with single_threaded():
            results.append(product(left, right).numpy().tobytes())
    torch.set_num_threads(before)
    assert len(set(results)) == 1


def test_an_operand_is_an_aligned_copy_of_rows_that_lie_anywhere():
    crooked = (
        np.frombuffer(b"\0" + np.arange(12, dtype=np.float16).tobytes(), np.uint8)[1:].view(np.float16).reshape(3, 4)
    )
    copy = operand(crooked)
    assert copy.data_ptr() % 64 == 0
    assert copy.dtype == torch.float32
    np.testing.assert_array_equal(copy.numpy(), np.arange(12).reshape(3, 4))


def test_padding_adds_zero_rows():
    np.testing.assert_array_equal(padded_operand(np.ones((2, 3)), 4).numpy(), [[1] * 3, [1] * 3, [0] * 3, [0] * 3])


def test_squared_norms_are_summed_in_double_precision():
    assert squared_norms(np.array([[3.0, 4.0], [1e20, 0.0]], np.float32)).tolist() == [
        25.0,
        float(np.float32(1e20)) ** 2,
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_passing_operand_holds_the_same_numbers_and_zeros_where_rows_are_missing(dtype):
    rows = np.random.default_rng(0).normal(size=(30, 7)).astype(dtype)
    rows.setflags(write=False)  # as memory-mapped features are
    for count in (30, 11, 30, 1):  # a shorter tile after a full one must not show what was there
        passing, kept = passing_operand(rows[:count], 30), padded_operand(rows[:count], 30)
        np.testing.assert_array_equal(passing.numpy(), kept.numpy())
        assert passing.data_ptr() % 64 == 0


def test_each_thread_has_a_passing_operand_of_its_own():
    here = passing_operand(np.ones((4, 3), np.float32), 4)
    with ThreadPoolExecutor(1) as other:
        there = other.submit(passing_operand, np.zeros((4, 3), np.float32), 4).result()
    assert here.sum() == 12
    assert there.sum() == 0
