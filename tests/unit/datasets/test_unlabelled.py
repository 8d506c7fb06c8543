import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelbench_ray.datasets.unlabelled import UNKNOWN, UnlabelledImages, UnlabelledVectors
from labelbench_ray.errors import DataError
from labelbench_ray.identity import describe

VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2)


def write_npz(folder, **arrays):
    np.savez(folder / "pool.npz", **arrays)
    return UnlabelledVectors(path=folder / "pool.npz")


def write_parquet(folder, **columns):
    pq.write_table(pa.table(columns), folder / "pool.parquet")
    return UnlabelledVectors(path=folder / "pool.parquet")


def test_an_npz_without_labels_is_a_pool(tmp_path):
    pool = write_npz(tmp_path, features=VECTORS, id=np.array([7, 5, 3, 1, 0, 2]))
    opened = pool.open()
    np.testing.assert_array_equal(opened.vectors("train").take(np.arange(6)), VECTORS)
    assert opened.labels("train").tolist() == [UNKNOWN] * 6
    assert pool.ids() == ("7", "5", "3", "1", "0", "2")


def test_a_parquet_file_is_a_pool_and_its_split_train_where_it_has_one(tmp_path):
    split = ["test", "train", "train", "val", "train", "test"]
    pool = write_parquet(tmp_path, features=list(VECTORS), id=list("abcdef"), split=split)
    np.testing.assert_array_equal(pool.open().vectors("train").take(np.arange(3)), VECTORS[[1, 2, 4]])
    assert pool.ids() == ("b", "c", "e")


def test_without_ids_there_are_none(tmp_path):
    assert write_npz(tmp_path, features=VECTORS).ids() is None
    assert write_parquet(tmp_path, features=list(VECTORS)).ids() is None


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"vectors": VECTORS}, "has no array 'features'; it has vectors"),
        ({"features": VECTORS[:0]}, "has no row"),
        ({"features": VECTORS[:, 0]}, r"must be \(N, D\) floats, got shape \(6,\)"),
        ({"features": np.where(VECTORS == 5, np.nan, VECTORS)}, "row 2 of the pool holds NaN"),
        ({"features": VECTORS, "id": np.arange(5)}, r"`id` has shape \(5,\); give one id for each of the 6 rows"),
        ({"features": VECTORS, "id": np.array(list("abcbef"))}, "id 'b' stands at row 1 and at row 3"),
    ],
    ids=["no features", "empty", "one dimension", "NaN", "too few ids", "an id twice"],
)
def test_wrong_files_say_what_and_where(tmp_path, arrays, told):
    pool = write_npz(tmp_path, **arrays)
    with pytest.raises(DataError, match=told):
        pool.open() and pool.ids()


def test_a_row_without_id_is_refused(tmp_path):
    with pytest.raises(DataError, match="1 rows of pool"):
        write_parquet(tmp_path, features=list(VECTORS), id=["a", None, "c", "d", "e", "f"]).ids()


def test_an_empty_folder_is_no_pool(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="no image below "):
        UnlabelledImages(path=tmp_path).open()


def test_a_pool_is_its_content_wherever_it_lies(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert describe(write_npz(one, features=VECTORS)) == describe(write_npz(two, features=VECTORS))
    assert describe(write_npz(two, features=VECTORS + 1)) != describe(write_npz(one, features=VECTORS))
