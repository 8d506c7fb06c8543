import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encode, noise_image, write_csv, write_table

from labelbench_ray import fingerprint
from labelbench_ray.datasets.base import halve_test
from labelbench_ray.datasets.csv_images import CsvImages
from labelbench_ray.datasets.splits import eighty_ten_ten
from labelbench_ray.errors import DataError, SpecError
from labelbench_ray.identity import describe


def ten(label=lambda number: number % 2, split=None):
    """Ten rows: a path and a label, and perhaps a split."""
    return [(f"{number}.png", label(number), *([] if split is None else [split(number)])) for number in range(10)]


def opened(tmp_path, rows=None, header="image,label,split", **parameters):
    return CsvImages(path=write_csv(tmp_path, rows, header), **parameters).open()


def test_rows_of_a_split_are_in_the_order_of_the_table(tmp_path):
    rows = ten(lambda number: ("bee", "ant")[number % 2], lambda number: ("test", "train", "val")[number % 3])
    found = opened(tmp_path, rows)
    assert found.card.class_names == ("ant", "bee")
    assert found.card.num_examples == {"train": 3, "val": 3, "test": 4}
    assert found.labels("train").tolist() == [0, 1, 0]  # rows 1, 4, 7
    for row, image in zip((1, 4, 7), found.images("train").read(np.arange(3)), strict=True):
        np.testing.assert_array_equal(image, np.asarray(noise_image(row)))


def test_without_val_test_is_halved(tmp_path):
    found = opened(tmp_path)
    to_val, _ = halve_test(4)
    expected = [np.asarray(noise_image(6 + int(row))) for row in to_val]
    for image, wanted in zip(found.images("val").read(np.arange(2)), expected, strict=True):
        np.testing.assert_array_equal(image, wanted)


def test_without_splits_rows_are_drawn(tmp_path):
    rows = [(f"{number}.png", number % 2) for number in range(20)]
    found = opened(tmp_path, rows, "image,label")
    for split, wanted in eighty_ten_ten(20).items():
        assert found.labels(split).tolist() == (wanted % 2).tolist()
    assert "permutation" in found.card.split_rule


def test_splits_may_be_tables_of_their_own(tmp_path):
    path = write_csv(tmp_path, ten(), "image,label")
    others = {}
    for name, first, last in (("val", 0, 3), ("test", 3, 8)):
        others[f"{name}_path"] = tmp_path / f"{name}.csv"
        write_table(others[f"{name}_path"], "image,label", ten()[first:last])
    found = CsvImages(path=path, **others).open()
    assert found.card.num_examples == {"train": 10, "val": 3, "test": 5}
    assert found.labels("val").tolist() == [0, 1, 0]
    assert found.labels("test").tolist() == [1, 0, 1, 0, 1]
    halved = CsvImages(path=path, test_path=others["test_path"]).open()
    assert halved.card.num_examples == {"train": 10, "val": 2, "test": 3}


def test_columns_may_be_named_and_cells_parted_by_tabs(tmp_path):
    rows = [(f"{number}.png\t{number % 2}\t{('train', 'test')[number > 5]}",) for number in range(10)]
    write_table(tmp_path / "t.tsv", "file\tkind\tpart", rows)
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(encode(noise_image(number)))
    names = {"image_column": "file", "label_column": "kind", "split_column": "part"}
    assert CsvImages(path=tmp_path / "t.tsv", **names).open().card.num_examples["train"] == 6


def test_images_may_lie_elsewhere(tmp_path):
    path = write_csv(tmp_path / "a")
    shutil.move(tmp_path / "a" / "all", tmp_path / "b" / "all")
    found = CsvImages(path=path, images=tmp_path / "b").open()
    np.testing.assert_array_equal(found.images("train").read(np.array([2]))[0], np.asarray(noise_image(2)))
    assert found.images("train").name_of(2) == "all/2.png"


def test_absolute_paths_are_the_same_data_set(tmp_path):
    path = write_csv(tmp_path)
    relative = CsvImages(path=path)
    header, *rows = path.read_text().splitlines()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / path.name).write_text("\n".join([header, *(f"{tmp_path}/{row}" for row in rows)]))
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "tables" / "linked.csv").write_text("\n".join([header, *(f"{tmp_path}/link/{row}" for row in rows)]))
    linked = CsvImages(path=tmp_path / "tables" / "linked.csv", images=tmp_path / "link")
    assert linked.open().images("train").name_of(2) == relative.open().images("train").name_of(2)
    absolute = CsvImages(path=tmp_path / "tables" / path.name, images=tmp_path)
    assert absolute.open().images("train").name_of(2) == relative.open().images("train").name_of(2)
    assert absolute.open().labels("test").tolist() == relative.open().labels("test").tolist()


def test_cells_with_several_labels(tmp_path):
    labels = ["cat;dog", "dog", "", "cat", "cow; cat", "dog", "cat", "", "cow", "dog;cow"]
    rows = ten(lambda number: labels[number], lambda number: ("train", "test")[number > 5])
    found = opened(tmp_path, rows, label_separator=";")
    assert found.card.task == "multi_label"
    assert found.card.class_names == ("cat", "cow", "dog")
    assert found.labels("train").tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_the_images_are_its_identity_wherever_they_lie_and_nothing_else_is(tmp_path):
    first, second = (CsvImages(path=write_csv(tmp_path / folder)) for folder in "ab")
    (tmp_path / "b" / "notes.png").write_text("not in the table")
    assert describe(first) == describe(second)
    assert first.open().card.revision == second.open().card.revision
    (tmp_path / "b" / "all" / "7.png").write_bytes(encode(noise_image(77)))
    assert describe(first) != describe(second)
    assert first.open().card.revision != second.open().card.revision


def test_many_images_are_looked_at_once_for_all_trials_of_a_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "LONG_LISTING", 5)
    dataset = CsvImages(path=write_csv(tmp_path))
    before = describe(dataset)
    (tmp_path / "all" / "7.png").write_bytes(encode(noise_image(77)))
    assert describe(dataset) == before
    monkeypatch.setattr(fingerprint, "LONG_LISTING", 50)
    assert describe(CsvImages(path=dataset.path, label_column="label", can_flip=False))["path"] != before["path"]
    monkeypatch.setattr(fingerprint, "LONG_LISTING", 5)
    before = describe(dataset)
    dataset.path.write_text(dataset.path.read_text().replace(",ant,", ",bee,", 1))
    assert describe(dataset) != before, "tables are looked at every time"


def test_folders_of_one_relative_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "LONG_LISTING", 5)
    found = []
    for number, folder in enumerate("ab"):
        path = write_csv(tmp_path / folder)
        (tmp_path / folder / "all" / "7.png").write_bytes(encode(noise_image(70 + number)))
        monkeypatch.chdir(tmp_path / folder)
        found.append(describe(CsvImages(path=Path(path.name)))["path"])
    assert len({*found}) == 2


def test_an_absolute_path_is_read_as_the_system_reads_it(tmp_path):
    path = write_csv(tmp_path)
    table = path.read_text()
    path.write_text(table.replace("all/4.png", f"{tmp_path}//all/./4.png"))
    assert CsvImages(path=path).open().images("train").name_of(4) == "all/4.png"
    path.write_text(table.replace("all/4.png", f"{tmp_path}/../elsewhere/4.png"))
    with pytest.raises(DataError, match=r"names .*/elsewhere/4\.png, outside "):
        CsvImages(path=path).open()


@pytest.mark.parametrize("name", ["val_path", "test_path"])
def test_every_table_is_part_of_the_identity(tmp_path, name):
    path = write_csv(tmp_path, ten(), "image,label")
    for other in ("val", "test"):
        write_table(tmp_path / f"{other}.csv", "image,label", ten()[:4])
    dataset = CsvImages(path=path, val_path=tmp_path / "val.csv", test_path=tmp_path / "test.csv")
    before = describe(dataset)
    write_table(getattr(dataset, name), "image,label", ten()[1:5])
    assert describe(dataset) != before


def in_row(row, text, column=1):
    rows = [list(one) for one in ten(lambda number: ("ant", "bee")[number % 2], lambda n: ("train", "test")[n > 5])]
    rows[row][column] = text
    return rows


@pytest.mark.parametrize(
    ("rows", "parameters", "message"),
    [
        (in_row(3, ""), {}, "row 3 of birds.csv has no label"),
        (in_row(7, "anl"), {}, "label 'anl' of row 7 of birds.csv is a class without .* Did you mean: ant"),
        (in_row(2, "cow"), {"class_names": ("ant", "bee")}, "label 'cow' of row 2 of birds.csv is a class without"),
        (ten(lambda n: n % 2 + 0.5 * (n == 4), lambda n: "train"), {}, "has no test split"),
        (
            ten(lambda n: n % 2 + 0.5 * (n == 4), lambda n: ("train", "test")[n > 5]),
            {},
            "label 0.5 of row 4 .* integer",
        ),
        (ten(lambda n: n % 2 - 2 * (n == 4), lambda n: ("train", "test")[n > 5]), {}, "label -2.0 of row 4 .* range"),
        (in_row(1, "dog", 2), {}, "column 'split' says 'dog'"),
        ([("/x/1.png", "ant", "train")], {}, "row 0 of birds.csv names /x/1.png, outside .*; set `images` to"),
        ([("", "ant", "train")], {}, "row 0 of birds.csv names no image"),
        ([("a\0.png", "ant", "train")], {}, r"row 0 of birds.csv names 'a\\x00.png', which no file"),
        ([("1.png", "ant", "train", "red, green")], {}, "birds.csv has rows with more cells than its header"),
        ([], {}, "has no row below its header"),
        (None, {"label_column": "lable"}, "no column 'lable'. Did you mean: label"),
        (None, {"split_column": "part"}, "no column 'part'"),
        (None, {"class_names": ("ant", "bee", "cow")}, r"class 2 \('cow'\) has no example in train"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, parameters, message):
    path = tmp_path / "birds.csv"
    if rows is None:
        write_csv(tmp_path)
    else:
        write_table(path, "image,label,split", rows)
        for file, *_ in rows:
            if file and file[0] != "/" and "\0" not in file:
                (tmp_path / file).write_bytes(encode(noise_image(0)))
    with pytest.raises(DataError, match=message) as error:
        CsvImages(path=path, **parameters).open()
    assert "\n" not in str(error.value)


def test_a_missing_image_is_named(tmp_path):
    path = write_csv(tmp_path)
    (tmp_path / "all" / "8.png").unlink()
    with pytest.raises(DataError, match=r"no image all/8\.png in .*set `images` to the folder it starts from"):
        CsvImages(path=path).open()


def test_a_folder_is_no_image(tmp_path):
    path = write_csv(tmp_path)
    (tmp_path / "all" / "8.png").unlink()
    (tmp_path / "all" / "8.png").mkdir()
    with pytest.raises(DataError, match=r"no image all/8\.png in "):
        CsvImages(path=path).open()


@pytest.mark.parametrize("content", [b"", b"image,label\n1.png,0,0,0\n2.png,a,b,c,d,e,f\n", b"\xff\xfe\x00image"])
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv") as error:
        CsvImages(path=tmp_path / "t.csv").open()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"val_path": "v.csv"}, "`val_path` needs `test_path`"),
        ({"test_path": "t.csv", "split_column": "split"}, "leave one out"),
        ({"label_separator": " "}, "not blank"),
        ({"templates": ("a photo",)}, "templates"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameters, message):
    with pytest.raises(SpecError, match=message):
        CsvImages(path="birds.csv", **parameters)


def test_a_column_of_splits_beside_a_table_of_test_is_refused(tmp_path):
    path = write_csv(tmp_path)
    with pytest.raises(DataError, match="has a column 'split', though `test_path` is given"):
        CsvImages(path=path, test_path=path).open()
