import numpy as np
import pytest

from labelbench_ray.datasets.base import halve_test
from labelbench_ray.datasets.splits import complete_splits
from labelbench_ray.errors import DataError


def test_halves_are_the_published_ones():
    # np.random.RandomState(42).permutation(10), as every numpy gives it; odd counts leave the larger half to test.
    validation, test = halve_test(10)
    assert validation.tolist() == [8, 1, 5, 0, 7]
    assert test.tolist() == [2, 9, 4, 3, 6]
    assert [len(half) for half in halve_test(5)] == [2, 3]
    assert validation.dtype == test.dtype == np.int64


def test_validation_that_is_given_is_kept():
    given = {"train": np.arange(3), "val": np.array([7]), "test": np.array([8, 9])}
    rows, rule = complete_splits("x", given)
    assert {split: ids.tolist() for split, ids in rows.items()} == {"train": [0, 1, 2], "val": [7], "test": [8, 9]}
    assert rule == "train, val and test as given"


def test_without_validation_test_is_halved_by_position():
    rows, rule = complete_splits("x", {"train": np.arange(3), "test": np.arange(100, 110)})
    assert rows["val"].tolist() == [108, 101, 105, 100, 107]
    assert rows["test"].tolist() == [102, 109, 104, 103, 106]
    assert "RandomState(42)" in rule


def test_limits_keep_the_first_rows_after_halving_and_are_told():
    rows, rule = complete_splits("x", {"train": np.arange(9), "test": np.arange(10)}, limit=4, limit_eval=2)
    assert rows["train"].tolist() == [0, 1, 2, 3]
    assert rows["val"].tolist() == [8, 1]
    assert rows["test"].tolist() == [2, 9]
    assert "first 4 rows of train and 2 of val and test" in rule


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_missing_part_is_named(missing):
    given = {"train": np.arange(3), "test": np.arange(3)} | {missing: np.arange(0)}
    with pytest.raises(DataError, match=f"dataset x: has no {missing} split"):
        complete_splits("x", given)
