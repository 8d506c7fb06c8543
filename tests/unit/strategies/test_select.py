from dataclasses import dataclass

import numpy as np
import pytest
from pools import random_pool

from labelbench_ray.errors import SelectionError
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.base import Needs
from labelbench_ray.strategies.select import select


@dataclass(frozen=True)
class Fixed:
    ids: object
    name = "fixed"
    needs = Needs()

    def least_memory(self, shape):
        return 0

    def select(self, request, rng):
        return self.ids


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        (np.array([1, 2]), "must return 3 ids, returned a int64 array of shape \\(2,\\)"),
        (np.array([1.0, 2.0, 3.0]), "must return 3 ids, returned a float64 array"),
        (np.array([1, 2, 133]), "returned id 133, outside the pool of 133 rows"),
        (np.array([1, 2, -1]), "returned id -1, outside"),
        (np.array([1, 2, 5]), "returned id 5, which is labelled or excluded"),
        (np.array([1, 2, 6]), "returned id 6, which is labelled or excluded"),
        (np.array([1, 2, 1]), "returned id 1 twice"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_named(ids, complaint):
    pool = random_pool(labels_to_buy=3, ids_L=np.array([5]), excluded_ids=np.array([6]))
    with pytest.raises(SelectionError, match=f"strategy fixed: {complaint}"):
        select(Fixed(ids), pool.request(Needs()), stream(0, "test"))


def test_ids_come_back_as_they_were_ordered():
    pool = random_pool(labels_to_buy=3, ids_L=np.array([5]))
    ids = select(Fixed([9, 2, 4]), pool.request(Needs()), stream(0, "test"))
    assert ids.tolist() == [9, 2, 4]
    assert ids.dtype == np.int64


@pytest.mark.parametrize(("labels_to_buy", "complaint"), [(0, "must be positive, got 0"), (125, "124 rows are left")])
def test_a_budget_that_cannot_be_bought_is_refused_with_the_request(labels_to_buy, complaint):
    with pytest.raises(SelectionError, match=complaint):
        random_pool(labels_to_buy=labels_to_buy).request(Needs())
