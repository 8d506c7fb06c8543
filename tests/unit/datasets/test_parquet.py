import pickle

import numpy as np
import pyarrow as pa
import pytest
from dataset_files import encode, image_table, noise_image, write_parquet

from labelbench_ray.datasets.base import halve_test
from labelbench_ray.datasets.parquet import EncodedColumn, ParquetImages
from labelbench_ray.errors import DataError, SpecError, UndecodableImageError

MIXED = ("test", "train", "train", "test", "val", "train", "val", "train")


def open_table(tmp_path, table=None, **parameters):
    return ParquetImages(path=write_parquet(tmp_path / "x.parquet", table), **parameters).open()


def test_splits_are_told_by_the_column_whatever_the_order(tmp_path):
    opened = open_table(tmp_path, image_table(splits=MIXED))
    for split in ("train", "val", "test"):
        rows = [row for row, told in enumerate(MIXED) if told == split]
        assert opened.labels(split).tolist() == [row % 2 for row in rows]
        for row, image in zip(rows, opened.images(split).read(np.arange(len(rows))), strict=True):
            np.testing.assert_array_equal(image, np.asarray(noise_image(row)))


def test_without_val_test_is_halved(tmp_path):
    opened = open_table(tmp_path)
    validation, test = halve_test(4)
    assert opened.labels("val").tolist() == (validation % 2).tolist()
    np.testing.assert_array_equal(
        opened.images("test").read(np.array([1]))[0], np.asarray(noise_image(6 + int(test[1])))
    )


def test_splits_as_a_dictionary_column(tmp_path):
    table = image_table()
    table = table.set_column(2, "split", table["split"].dictionary_encode())
    assert open_table(tmp_path, table).card.num_examples["train"] == 6


@pytest.mark.parametrize("classes", ['["ant", "bee"]', "['ant', 'bee']", "('ant', 'bee')"])
def test_class_names_as_json_or_python_writes_them(tmp_path, classes):
    assert open_table(tmp_path, image_table(classes=classes)).card.class_names == ("ant", "bee")


def test_class_names_given_win_and_none_are_numbered(tmp_path):
    assert open_table(tmp_path, class_names=("x", "y")).card.class_names == ("x", "y")
    assert open_table(tmp_path, image_table(classes=None)).card.class_names == ("0", "1")


@pytest.mark.parametrize("classes", ["ant, bee", "[1, 2]", '{"ant": 1}', "__import__('os')"])
def test_class_names_of_another_form_are_refused(tmp_path, classes):
    with pytest.raises(DataError, match="metadata key `classes` must be a list of names"):
        open_table(tmp_path, image_table(classes=classes))


def test_other_column_names(tmp_path):
    table = image_table().rename_columns(["picture", "class", "part"])
    opened = open_table(tmp_path, table, image_column="picture", label_column="class", split_column="part")
    assert opened.images("train").read(np.array([0]))[0].shape == (7, 9, 3)


@pytest.mark.parametrize(("column", "near"), [("imag", "Did you mean: image"), ("zzz", "It has image, label, split")])
def test_a_missing_column_is_named(tmp_path, column, near):
    with pytest.raises(DataError, match=f"x.parquet has no column '{column}'.*{near}"):
        open_table(tmp_path, image_column=column)


@pytest.mark.parametrize("name", ["validation", None])
def test_a_name_that_is_no_split_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=f"column 'split' says '{name}'; the splits are train, val, test"):
        open_table(tmp_path, image_table(splits=("train", "train", "test", "test", name), labels=[0, 1, 0, 1, 0]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 0, 1, 0, 1, 0, 1, 0, None], "is not an integer"),
        ([0, 1, 0, 1, 0, 1, 0, 1, 2, 1], "label 2 of row 8 of the file is out of range"),
        ([0, 0, 0, 0, 0, 0, 0, 1, 0, 1], r"class 1 \('bee'\) has no example in train"),
        (["ant"] * 10, "labels of train must be integers"),
    ],
)
def test_wrong_labels_are_named(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        open_table(tmp_path, image_table(labels=labels))


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet"):
        ParquetImages(path=tmp_path / "x.parquet").open()


def test_a_row_group_damaged_after_opening_is_named(tmp_path):
    source = open_table(tmp_path).images("train")
    content = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(b"\0" * (len(content) // 2) + content[len(content) // 2 :])
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet"):
        source.read(np.array([0]))


def test_limits_keep_the_first_rows(tmp_path):
    opened = open_table(tmp_path, limit=3, limit_eval=1)
    assert opened.card.num_examples == {"train": 3, "val": 1, "test": 1}
    assert "first 3 rows of train" in opened.card.split_rule
    with pytest.raises(SpecError, match="`limit` must be positive"):
        ParquetImages(path=tmp_path, limit=0)


@pytest.mark.parametrize("broken", [b"garbage", b"", None])
def test_an_undecodable_image_is_named_by_id_and_row(tmp_path, broken):
    images = [encode(noise_image(number)) for number in range(8)]
    images[5] = broken  # the third of train
    source = open_table(tmp_path, image_table(splits=MIXED, images=images)).images("train")
    assert len(source.read(np.array([0, 1, 3]))) == 3
    with pytest.raises(UndecodableImageError) as error:
        source.read(np.array([0, 2]))
    assert error.value.args[:4] == ("parquet", "train", 2, "x.parquet row 5")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize("cache_bytes", [0, 10**9])
def test_any_cache_gives_the_same_values_in_order(tmp_path, cache_bytes):
    values = [bytes([number]) * 100 for number in range(10)]
    path = write_parquet(tmp_path / "x.parquet", pa.table({"data": values}), row_group_size=4)
    column = EncodedColumn(path, "data", cache_bytes)
    for rows in ([9, 0, 4, 3, 9], [], [5]):
        assert column.read(np.array(rows, np.int64)) == [values[row] for row in rows]


class RecordingFile:
    def __init__(self, file):
        self.file, self.groups = file, []

    def read_row_group(self, group, columns):
        self.groups.append(group)
        return self.file.read_row_group(group, columns)


def test_row_groups_are_read_once_while_they_fit(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", pa.table({"data": [b"x" * 100] * 12}), row_group_size=4)

    def groups_read(cache_bytes):
        column = EncodedColumn(path, "data", cache_bytes)
        column._open()
        column._file = RecordingFile(column._file)
        for rows in ([0, 11, 1], [2, 10], [5], [3]):
            column.read(np.array(rows))
        return column._file.groups

    assert groups_read(10**9) == [0, 2, 1]
    assert groups_read(1000) == [0, 2, 1, 0]  # two groups fit; the one used longest ago leaves
    assert groups_read(0) == [0, 2, 0, 2, 1, 0]


def test_threads_may_share_a_source(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    source = open_table(tmp_path, cache_gib=0).images("train")
    expected = [image.tolist() for image in source.read(np.arange(6))]
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda n: source.read(np.array([n % 6]))[0].tolist(), range(60)))
    assert read == [expected[n % 6] for n in range(60)]


def test_real_cifar10(test_data):
    path = test_data / "data" / "cifar10.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}")
    opened = ParquetImages(path=path).open()
    assert opened.card.num_examples == {"train": 50_000, "val": 5_000, "test": 5_000}
    assert opened.card.class_names[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(opened.labels("train")).tolist() == [5_000] * 10
    validation, _ = halve_test(10_000)
    images = opened.images("val").read(np.array([0, 4_999]))
    assert [image.shape for image in images] == [(32, 32, 3)] * 2
    # The validation image 0 is official test image validation[0], which lies after the 50,000 of train.
    column = EncodedColumn(path, "index", 0)
    assert column.read(np.array([50_000 + validation[0]])) == [validation[0]]
