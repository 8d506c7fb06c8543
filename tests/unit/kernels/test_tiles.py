from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from labelbench_ray.kernels.tiles import Scratch


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copied_rows_are_those_of_the_block_and_may_be_spoilt(dtype):
    scratch = Scratch()
    for rows, width in [(5, 3), (2, 3), (9, 3), (4, 7), (4, 3)]:
        block = np.asfortranarray(np.random.default_rng(0).random((rows, width)).astype(dtype))
        block.setflags(write=False)
        for places in (np.arange(rows), np.array([1, 0, 1]), np.empty(0, np.int64)):
            copied = scratch.copied(block, places)
            np.testing.assert_array_equal(copied, block[places])
            assert copied.dtype == dtype
            copied.reshape(-1)[:] = -1
            assert (copied == -1).all()  # a view all the way, as those that spoil rows in place need


def test_a_thread_does_not_spoil_the_rows_of_another():
    scratch, both_have_copied = Scratch(), Barrier(2, timeout=30)

    def copy(number):
        copied = scratch.copied(np.full((3, 2), float(number)), np.array([0, 2]))
        both_have_copied.wait()
        return copied.tolist()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(copy, [1, 2])) == [[[1, 1], [1, 1]], [[2, 2], [2, 2]]]
