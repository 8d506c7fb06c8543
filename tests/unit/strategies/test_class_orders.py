import dataclasses

import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.kernels.class_order import class_margin
from labelbench_ray.shards import LocalWorkers
from labelbench_ray.strategies import class_orders
from labelbench_ray.strategies.base import Needs
from labelbench_ray.strategies.class_orders import ClassOrders

NEEDS = Needs(probabilities=True)


class CountedSpread:
    """Remembers which classes each pass over the pool read."""

    def __init__(self, spread):
        self.spread, self.passes = spread, []

    def __call__(self, worker):
        workers, passes = self.spread(worker), self.passes

        class Counted(LocalWorkers):
            def __init__(self):
                self.shards = workers.shards

            def each(self, method, *arguments):
                if method == "columns":
                    passes.append([read for group in arguments[0] for read in group])
                return workers.each(method, *arguments)

        return Counted()


def counted(pool, **how):
    request = pool.request(NEEDS, **how)
    spread = CountedSpread(request.spread)
    return dataclasses.replace(request, spread=spread), spread.passes


def plain_order(pool, class_index):
    margins_N = class_margin(pool.probs_NC[:, class_index], pool.probs_NC.max(axis=1))
    order = np.argsort(-margins_N, kind="stable")
    return order[~np.isin(order, pool.excluded_ids)].tolist()


def told(order):
    return order.ids_at(np.arange(order.num_rows)).tolist()


def holding(num_columns, pool):
    """Bytes for so many columns, or orders in their place, at a time."""
    rows = len(pool.probs_NC)
    return 100 * rows + pool.probs_NC.itemsize * rows * num_columns


@pytest.mark.parametrize("num_shards", [1, 3])
def test_every_order_is_the_stable_sort_of_its_margins_without_excluded_rows(num_shards):
    pool = random_pool(num_classes=5, excluded_ids=np.array([3, 77, 132]))
    orders = ClassOrders(pool.request(NEEDS, num_shards=num_shards))
    for class_index in (3, 0, 4, 1, 2, 3):
        order = orders.of(class_index)
        expected = plain_order(pool, class_index)
        assert told(order) == expected
        assert order.positions_of(np.array(expected)).tolist() == list(range(len(expected)))


def test_one_pass_reads_all_classes_if_they_fit():
    pool = random_pool(num_classes=5)
    request, passes = counted(pool)
    orders = ClassOrders(request)
    for class_index in (2, 0, 1, 3, 4, 2):
        orders.of(class_index)
    assert passes == [[0, 1, 2, 3, 4]]


def test_columns_are_read_in_groups(monkeypatch):
    monkeypatch.setattr(class_orders, "GROUP", 2)
    pool = random_pool(num_classes=5)
    orders = ClassOrders(pool.request(NEEDS, num_shards=3))
    assert [told(orders.of(k)) for k in (3, 0, 4, 1, 2)] == [plain_order(pool, k) for k in (3, 0, 4, 1, 2)]


def test_only_expected_classes_are_read_ahead():
    request, passes = counted(random_pool(num_classes=5))
    orders = ClassOrders(request, expected=[4, 1])
    told(orders.of(4))
    told(orders.of(1))
    told(orders.of(0))  # never said, and served
    assert passes == [[1, 4], [0]]


@pytest.mark.parametrize("num_columns", [1, 2, 3])
@pytest.mark.parametrize("num_shards", [1, 2])
def test_little_memory_costs_passes_and_changes_nothing(num_columns, num_shards):
    pool = random_pool(num_classes=5, excluded_ids=np.array([60]))
    request, passes = counted(pool, num_shards=num_shards)
    orders = ClassOrders(request, memory_bytes=holding(num_columns, pool))
    for class_index in (0, 3, 1, 0, 0, 4, 2, 3, 0):
        order = orders.of(class_index)
        assert told(order) == plain_order(pool, class_index)
        assert len(orders._group_of) <= num_columns
    assert len(passes) > 1


def test_groups_are_small_where_little_fits_and_one_is_left_to_join_shards():
    pool = random_pool(num_classes=40)
    request, passes = counted(pool, num_shards=2)
    orders = ClassOrders(request, memory_bytes=holding(16, pool))
    assert [told(orders.of(k)) for k in range(40)] == [plain_order(pool, k) for k in range(40)]
    assert max(len(group.classes) for group in orders._groups) == 2
    assert len(passes[0]) == 15


def test_the_order_unused_for_longest_is_forgotten():
    request, passes = counted(random_pool(num_classes=5))
    orders = ClassOrders(request, expected=[], memory_bytes=holding(3, random_pool(num_classes=5)))
    for class_index in (0, 1, 0, 2, 0, 3, 0, 2, 1):
        orders.of(class_index)
    assert passes == [[0], [1], [2], [3], [1]]


def test_columns_that_may_not_be_written_to_are_copied():
    pool = random_pool(num_classes=3)
    columns_GN = pool.probs_NC.T.copy()
    columns_GN.flags.writeable = False
    assert class_orders._joined([columns_GN]).flags.writeable


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_of_any_dtype_leave_room_for_positions(dtype):
    pool = random_pool(num_classes=3)
    pool = pool.changed(probs_NC=pool.probs_NC.astype(dtype))
    orders = ClassOrders(pool.request(NEEDS, num_shards=2), memory_bytes=holding(3, random_pool(num_classes=3)))
    wide = pool.changed(probs_NC=pool.probs_NC.astype(np.float64))
    assert [told(orders.of(k)) for k in range(3)] == [plain_order(wide, k) for k in range(3)]


def test_two_classes_and_multi_label_go_by_probability():
    pool = random_pool(num_classes=2)
    by_probability = np.argsort(-pool.probs_NC, axis=0, kind="stable")
    orders = ClassOrders(pool.request(NEEDS))
    assert [told(orders.of(k)) for k in (0, 1)] == by_probability.T.tolist()
    pool = random_pool(num_classes=4, task="multi_label")
    by_probability = np.argsort(-pool.probs_NC, axis=0, kind="stable")
    orders = ClassOrders(pool.request(NEEDS))
    assert [told(orders.of(k)) for k in range(4)] == by_probability.T.tolist()
    assert told(ClassOrders(pool.request(NEEDS), by_probability=False).of(2)) == plain_order(pool, 2)


def test_padding_and_saturated_rows_are_ordered_too():
    pool = random_pool(num_classes=3, padding=9.5)
    pool = pool.changed(probs_NC=np.eye(3, dtype=np.float32)[np.arange(133) % 3])
    orders = ClassOrders(pool.request(NEEDS, num_shards=4))
    for class_index in range(3):
        assert told(orders.of(class_index)) == plain_order(pool, class_index)
