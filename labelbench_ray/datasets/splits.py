"""Which rows of the source are which split, for data that comes with a training and a test part."""

from collections.abc import Mapping

from labelbench_ray.datasets.base import halve_test
from labelbench_ray.errors import DataError
from labelbench_ray.types import Ids, Split

HALVED = "val and test are the first and second half of np.random.RandomState(42).permutation(official test)"
GIVEN = "train, val and test as given"


def complete_splits(
    dataset: str, given: Mapping[Split, Ids], limit: int | None = None, limit_eval: int | None = None
) -> tuple[dict[Split, Ids], str]:
    """Rows of train, val and test, and the rule in words; without a validation part, test is halved.

    ``limit`` keeps the first rows of train, ``limit_eval`` the first rows of val and of test. Raises DataError when
    train or test is missing.
    """
    for split in ("train", "test"):
        if not len(given.get(split, ())):
            raise DataError(dataset, f"has no {split} split; it needs train and test (val is made by halving test)")
    rows, rule = dict(given), GIVEN
    if not len(given.get("val", ())):
        to_val, to_test = halve_test(len(given["test"]))
        rows |= {"val": given["test"][to_val], "test": given["test"][to_test]}
        rule = f"train as given; {HALVED}"
    if limit is not None or limit_eval is not None:
        rule += f"; then the first {limit or 'N'} rows of train and {limit_eval or 'N'} of val and test"
    return {
        "train": rows["train"][:limit],
        "val": rows["val"][:limit_eval],
        "test": rows["test"][:limit_eval],
    }, rule
