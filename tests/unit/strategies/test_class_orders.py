import dataclasses

import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.kernels.class_order import CompactOrder, RoomyOrder, class_margin
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


def holding(num_orders, kind, pool):
    """Bytes for so many columns and orders at a time."""
    rows = len(pool.probs_NC)
    return 100 * rows + 8 * rows + kind.num_bytes(rows) * num_orders


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
    kinds = {type(orders.of(class_index)) for class_index in (2, 0, 1, 3, 4, 2)}
    assert passes == [[0, 1, 2, 3, 4]]
    assert kinds == {RoomyOrder}


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


@pytest.mark.parametrize("num_orders", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [133, 20_000])
def test_little_memory_costs_passes_and_changes_nothing(num_orders, num_rows):
    pool = random_pool(num_rows=num_rows, num_classes=5, excluded_ids=np.array([60]), tile_rows=num_rows // 4)
    kind = RoomyOrder if num_rows == 133 else CompactOrder
    request, passes = counted(pool, num_shards=2)
    orders = ClassOrders(request, memory_bytes=holding(num_orders, kind, pool))
    for class_index in (0, 3, 1, 0, 0, 4, 2, 3, 0):
        order = orders.of(class_index)
        assert isinstance(order, kind)
        assert told(order) == plain_order(pool, class_index)
        kept = len(orders._orders) * kind.num_bytes(num_rows) + len(orders._columns) * 8 * num_rows
        assert kept <= 8 * num_rows + num_orders * kind.num_bytes(num_rows)
    assert len(passes) > 1


def test_the_order_unused_for_longest_is_forgotten():
    pool = random_pool(num_classes=5)
    request, passes = counted(pool)
    orders = ClassOrders(request, memory_bytes=holding(3, RoomyOrder, pool))
    for class_index in (0, 1, 0, 2, 0, 3, 0, 2, 1):
        orders.of(class_index)
    assert passes == [[0], [1], [2], [3], [1]]


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
