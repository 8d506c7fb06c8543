import numpy as np
import pytest

from labelbench_ray.datasets.checks import (
    check_limits,
    check_templates,
    checked_labels,
    checked_splits,
    checked_vectors,
    numbered_classes,
)
from labelbench_ray.errors import DataError, SpecError

CLASSES = ("ant", "bee", "cow")
GOOD = {"train": [0, 1, 2], "val": [0], "test": [2, 2]}


def test_labels_come_back_as_int64():
    labels = checked_splits("x", {split: np.array(values, np.uint8) for split, values in GOOD.items()}, CLASSES)
    assert {split: values.tolist() for split, values in labels.items()} == GOOD
    assert all(values.dtype == np.int64 for values in labels.values())


def test_whole_numbers_stored_as_floats_are_accepted():
    assert checked_labels("x", "train", np.array([0.0, 2.0]), CLASSES).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([0, 3], r"label 3 of row 1 of val is out of range 0\.\.2"),
        ([-1, 0], r"label -1 of row 0 of val is out of range"),
        ([0, 1, 0.5], r"label 0\.5 of row 2 of val is not an integer"),
        ([0, np.nan], "label nan of row 1 of val is not an integer"),
        ([np.inf], "label inf of row 0 of val is not an integer"),
        (["ant"], "labels of val must be integers, got <U3"),
        ([True], "labels of val must be integers, got bool"),
        ([[0, 1]], r"must be one number per row, got an array of shape \(1, 2\)"),
        ([], "split 'val' is empty"),
    ],
)
def test_a_wrong_label_is_named(raw, message):
    with pytest.raises(DataError, match=message):
        checked_labels("x", "val", np.array(raw), CLASSES)


def test_a_class_the_pool_lacks_is_named():
    with pytest.raises(DataError, match=r"class 1 \('bee'\) has no example in train"):
        checked_splits("x", GOOD | {"train": [0, 2, 2]}, CLASSES)


def test_a_split_that_is_missing_is_empty():
    with pytest.raises(DataError, match="split 'test' is empty"):
        checked_splits("x", {"train": [0, 1, 2], "val": [0]}, CLASSES)


def test_one_class_or_two_of_one_name_are_refused():
    with pytest.raises(DataError, match="needs at least 2"):
        checked_splits("x", GOOD, ("ant",))
    with pytest.raises(DataError, match="two classes are named 'ant'"):
        checked_splits("x", GOOD, ("ant", "bee", "ant"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_found_wherever_it_is(bad):
    vectors = np.zeros((10_000, 2), np.float16)
    vectors[9_001, 1] = bad
    with pytest.raises(DataError, match="row 9001 of test holds NaN or an infinite value"):
        checked_vectors("x", "test", vectors, 10_000, None)


@pytest.mark.parametrize(
    ("vectors", "num_labels", "width", "message"),
    [
        (np.zeros((3, 4)), 2, None, "train has 3 feature rows but 2 labels"),
        (np.zeros((3, 4)), 3, 5, "features of train are 4 wide, not 5"),
        (np.zeros((3, 0)), 3, None, "features of train are 0 wide"),
        (np.zeros(3), 3, None, r"must be \(N, D\) floats, got shape \(3,\)"),
        (np.zeros((3, 4), np.int32), 3, None, "of int32"),
    ],
)
def test_features_of_a_wrong_form_are_refused(vectors, num_labels, width, message):
    with pytest.raises(DataError, match=message):
        checked_vectors("x", "train", vectors, num_labels, width)


def test_vectors_are_kept_as_stored():
    vectors = np.ones((3, 4), np.float16)
    assert checked_vectors("x", "train", vectors, 3, 4) is vectors


@pytest.mark.parametrize(("labels", "count"), [([0, 2], 3), ([0, 0], 2), ([], 2), ([np.nan], 2), (["a"], 2)])
def test_classes_without_names_are_numbered(labels, count):
    assert numbered_classes(np.array(labels)) == tuple(str(number) for number in range(count))


def test_limits_must_be_positive():
    check_limits("x", None, 1)
    with pytest.raises(SpecError, match="x: `limit` must be positive, got 0"):
        check_limits("x", 0, None)
    with pytest.raises(SpecError, match="x: `limit_eval` must be positive, got -3"):
        check_limits("x", None, -3)


@pytest.mark.parametrize("template", ["a photo", "{} and {}"])
def test_a_prompt_has_one_place_for_the_class(template):
    check_templates("x", ("a photo of {}.",))
    with pytest.raises(SpecError, match="`templates` must each hold one"):
        check_templates("x", (template,))
