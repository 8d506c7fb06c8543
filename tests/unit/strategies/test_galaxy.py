import dataclasses

import numpy as np
import pytest
from pools import SmallPool, random_pool

from labelbench_ray.errors import SelectionError, SpecError
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.galaxy import Galaxy, StreamDraws, query_cuts


def line(num_rows, border, bought, labels_to_buy):
    """Two classes along a line: id order is the order, class 0 before the border."""
    confidence = np.linspace(0.99, 0.01, num_rows)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    truth = (np.arange(num_rows) >= border).astype(np.int64)
    return SmallPool(probs, probs, truth, np.array(bought), labels_to_buy)


def bought(pool, strategy=None, seed=0):
    return (strategy or Galaxy()).select(pool.request(Galaxy.needs, num_shards=2), stream(seed, "test")).tolist()


def test_bisects_and_then_extends_around_the_cut():
    assert bought(line(16, 5, [0, 15], 6)) == [7, 3, 5, 4, 6, 2]


def test_answers_steer_the_next_query():
    assert bought(line(16, 12, [0, 15], 4)) == [7, 11, 13, 12]


def test_without_a_cut_rows_are_random():
    pool = line(16, 0, [0, 15], 5)
    assert bought(pool, seed=0) != bought(pool, seed=1)


class Recorder:
    def __init__(self, pool):
        self.pool, self.asked = pool, []

    def __call__(self, ids):
        self.asked.append(len(ids))
        return self.pool.ask(ids)


@pytest.mark.parametrize(
    ("rounds", "expected"), [(None, [1] * 10), (1, [10]), (3, [4, 4, 2]), (10, [1] * 10), (99, [1] * 10)]
)
def test_rounds_per_batch_is_the_number_of_trips_to_the_annotators(rounds, expected):
    pool = random_pool(labels_to_buy=10)
    recorder = Recorder(pool)
    request = dataclasses.replace(pool.request(Galaxy.needs), ask=recorder)
    Galaxy(rounds_per_batch=rounds).select(request, stream(0, "test"))
    assert recorder.asked == expected


def test_queries_asked_at_once_split_the_run_between_them():
    assert bought(line(16, 5, [0, 15], 3), Galaxy(rounds_per_batch=1)) == [7, 3, 1]


def test_excluded_rows_leave_the_order():
    assert bought(line(16, 5, [0, 15], 1).changed(excluded_ids=np.array([7]))) == [8]


def test_every_class_is_drawn():
    pool = random_pool(num_classes=3, labels_to_buy=40)
    drawn = set()

    class Draws(StreamDraws):
        def class_index(self, num_classes):
            drawn.add(super().class_index(num_classes))
            return max(drawn)

    query_cuts(pool.request(Galaxy.needs), Draws(stream(0, "test")), at_once=1)
    assert drawn == {0, 1, 2}


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(SpecError, match="`rounds_per_batch` must be at least 1, got 0"):
        Galaxy(rounds_per_batch=0)
    with pytest.raises(SpecError, match="leave out `rounds_per_batch`"):
        Galaxy(compatibility="labelbench", rounds_per_batch=2)


def test_a_multi_label_task_is_refused():
    with pytest.raises(SelectionError, match="multi_class"):
        bought(random_pool(task="multi_label"))
