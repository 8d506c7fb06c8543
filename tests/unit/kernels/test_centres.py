from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gradient_rows import rows_of, sample

from labelbench_ray.kernels.centres import Centres
from labelbench_ray.kernels.gradients import ROWS_AT_ONCE


def described(held):
    """Everything that is known of the rows held."""
    columns = (*held.rows, held.a_N, held.off_N, held.predicted_N, held.is_tame_N, held.unit.numpy())
    return [column[: held.end].copy() for column in columns]


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_rows_are_laid_the_same_by_any_number_of_threads(task):
    first, second = (rows_of(*sample(3 * ROWS_AT_ONCE + 7, seed=seed), task=task) for seed in (0, 1))
    alone, together = Centres(500, task), Centres(500, task)
    with ThreadPoolExecutor(3) as threads:
        for held, spread in ((alone, map), (together, threads.map)):
            held.lay(first, spread)
            held.keep(np.arange(0, len(first.ids_N), 2))
            held.lay(second, spread)
    assert alone.end == len(first.ids_N[::2]) + len(second.ids_N)
    for one, other in zip(described(alone), described(together), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(alone.rows.probs_NC[alone.count : alone.end], second.probs_NC)
    np.testing.assert_array_equal(alone.rows.ids_N[: alone.count], first.ids_N[::2])
    np.testing.assert_allclose(np.square(alone.unit.numpy()[: alone.end]).sum(axis=1), 2, rtol=1e-5)
