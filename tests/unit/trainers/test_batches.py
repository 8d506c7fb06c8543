import numpy as np
import pytest

from labelbench_ray.seeding import stream
from labelbench_ray.trainers.batches import Batches, num_steps

IDS = np.arange(100, 110)


def batches(size, ids=IDS):
    return Batches(ids, size, lambda number: stream(0, "order", number))


def test_a_pass_has_full_batches_of_distinct_ids():
    made = batches(3)
    assert made.per_pass == 3
    seen = np.concatenate([made.at(step) for step in range(3)])
    assert len(seen) == len(set(seen.tolist())) == 9
    assert set(seen.tolist()) <= set(IDS.tolist())


def test_passes_differ_in_order():
    made = batches(10)
    assert made.at(0).tolist() != made.at(1).tolist()
    assert sorted(made.at(1).tolist()) == IDS.tolist()


def test_a_step_does_not_depend_on_the_steps_before():
    one, other = batches(4), batches(4)
    later = one.at(7)
    for step in range(8):
        last = other.at(step)
    np.testing.assert_array_equal(later, last)


def test_fewer_ids_than_a_batch_are_one_batch_and_none_are_none():
    assert sorted(batches(64).at(0).tolist()) == IDS.tolist()
    assert batches(64, IDS[:0]).at(5).tolist() == []
    assert batches(64, IDS[:0]).size == 0


@pytest.mark.parametrize(("asked", "steps"), [((4, 3, 0), 12), ((4, 3, 20), 20), ((4, 0, 0), 1)])
def test_number_of_steps(asked, steps):
    assert num_steps(*asked) == steps
