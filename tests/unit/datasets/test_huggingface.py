import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_files import hub_table, noise_image, save_split, save_to_disk

from labelbench_ray.datasets.arrow_files import EncodedFiles
from labelbench_ray.datasets.base import halve_test
from labelbench_ray.datasets.huggingface import HuggingFaceFolder, files_by_split
from labelbench_ray.datasets.splits import eighty_ten_ten
from labelbench_ray.errors import DataError, UndecodableImageError
from labelbench_ray.identity import describe


def write_hub(root, tables):
    """Parquet files by their paths."""
    for path, table in tables.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / path, row_group_size=2)
    return root


def opened(root, **parameters):
    return HuggingFaceFolder(path=root, **parameters).open()


def shows(images, ids, numbers):
    for image, number in zip(images.read(np.array(ids)), numbers, strict=True):
        np.testing.assert_array_equal(image, np.asarray(noise_image(number)))


def test_what_was_saved_to_disk(tmp_path):
    found = opened(save_to_disk(tmp_path))
    assert found.card.class_names == ("ant", "bee")
    assert found.card.num_examples == {"train": 6, "val": 2, "test": 2}
    assert found.labels("train").tolist() == [0, 1] * 3
    shows(found.images("train"), range(6), range(6))
    shows(found.images("val"), [0, 1], 100 + halve_test(4)[0])
    assert found.images("train").name_of(5) == "data-00001-of-00002.arrow row 1"


def test_files_as_on_the_hub(tmp_path):
    files = {
        "data/train-00000-of-00002.parquet": hub_table(range(4)),
        "data/train-00001-of-00002-0123abcdef.parquet": hub_table(range(4, 8)),
        "data/validation-00000-of-00001.parquet": hub_table(range(10, 13)),
        "data/test-00000-of-00001.parquet": hub_table(range(20, 24)),
    }
    found = opened(write_hub(tmp_path, files))
    assert found.card.num_examples == {"train": 8, "val": 3, "test": 4}
    shows(found.images("train"), [7, 0, 3, 4], [7, 0, 3, 4])
    shows(found.images("val"), range(3), range(10, 13))
    assert found.images("train").name_of(5) == "train-00001-of-00002-0123abcdef.parquet row 1"


@pytest.mark.parametrize("files", [["train/0000.parquet", "test/0000.parquet"], ["train.parquet", "test.parquet"]])
def test_other_names_of_files(tmp_path, files):
    write_hub(tmp_path, dict.fromkeys(files, hub_table(range(4))))
    assert sorted(files_by_split(tmp_path)) == ["test", "train"]


def test_a_single_split_is_drawn(tmp_path):
    save_split(tmp_path / "one", [hub_table(range(20))])
    found = opened(tmp_path / "one")
    for split, rows in eighty_ten_ten(20).items():
        assert found.labels(split).tolist() == (rows % 2).tolist()
        shows(found.images(split), range(len(rows)), rows)


def test_splits_of_other_names(tmp_path):
    root = save_to_disk(
        tmp_path, fit=hub_table(range(4)), dev=hub_table(range(10, 12)), holdout=hub_table(range(20, 23))
    )
    found = opened(root, train_split="fit", test_split="holdout")
    assert found.card.num_examples == {"train": 4, "val": 2, "test": 3}
    assert "fit" in found.card.split_rule
    assert "holdout" in found.card.split_rule


def test_a_split_for_validation_may_be_the_test(tmp_path):
    found = opened(save_to_disk(tmp_path, train=hub_table(range(4)), validation=hub_table(range(9, 13))),
                   test_split="validation")  # fmt: skip
    assert found.card.num_examples == {"train": 4, "val": 2, "test": 2}


def test_labels_as_names_or_plain_numbers(tmp_path):
    words = hub_table(range(4), ["bee", "ant", "bee", "ant"], names=())
    assert opened(save_to_disk(tmp_path / "w", train=words, test=words)).labels("train").tolist() == [1, 0, 1, 0]
    plain = hub_table(range(4), [0, 1, 2, 1], names=())
    assert opened(save_to_disk(tmp_path / "p", train=plain, test=plain)).card.class_names == ("0", "1", "2")


def test_lists_of_labels(tmp_path):
    table = hub_table(range(4), [[0], [0, 2], [], [1]], names=("a", "b", "c"))
    found = opened(save_to_disk(tmp_path, train=table, test=table))
    assert found.card.task == "multi_label"
    assert found.labels("train").tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_a_plain_column_of_bytes_is_read_too(tmp_path):
    table = hub_table(range(4))
    plain = table.set_column(0, "image", pa.array([one["bytes"] for one in table["image"].to_pylist()], pa.binary()))
    images = opened(save_to_disk(tmp_path, train=plain, test=plain)).images("train")
    assert len(images) == 4
    shows(images, range(4), range(4))


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_threads_and_pickles_read_the_same(tmp_path, cache_gib):
    files = {"train.parquet": hub_table(range(9)), "test.parquet": hub_table(range(4))}
    images = opened(write_hub(tmp_path, files), cache_gib=cache_gib).images("train")
    with ThreadPoolExecutor(4) as threads:
        for image, number in zip(threads.map(lambda i: images.read(np.array([i]))[0], range(9)), range(9), strict=True):
            np.testing.assert_array_equal(image, np.asarray(noise_image(number)))
    shows(pickle.loads(pickle.dumps(images)), [8, 1], [8, 1])


def test_what_was_read_is_kept_up_to_the_limit(tmp_path):
    write_hub(tmp_path, {"train.parquet": hub_table(range(6))})
    small, large = (EncodedFiles("x", [tmp_path / "train.parquet"], "image", size) for size in (0, 2**30))
    for row in range(6):
        assert small.read(row) == large.read(row)
    assert (len(small._kept), len(large._kept)) == (1, 3)


def test_notes_and_caches_are_no_part_of_it(tmp_path):
    root = save_to_disk(tmp_path)
    before = describe(HuggingFaceFolder(path=root))
    (root / "README.md").write_text("notes")
    (root / "train" / "cache-0123.arrow").write_text("cached")
    assert describe(HuggingFaceFolder(path=root)) == before
    (root / "train" / "data-00000-of-00002.arrow").write_bytes(b"other")
    assert describe(HuggingFaceFolder(path=root)) != before


def test_every_file_that_is_read_is_part_of_it(tmp_path):
    root = save_to_disk(tmp_path)
    state = root / "train" / "state.json"
    state.write_text(state.read_text().replace("data-00000", "cache-00000"))
    (root / "train" / "data-00000-of-00002.arrow").rename(root / "train" / "cache-00000-of-00002.arrow")
    before = describe(HuggingFaceFolder(path=root))
    (root / "train" / "cache-00000-of-00002.arrow").write_bytes(b"other")
    assert describe(HuggingFaceFolder(path=root)) != before


def test_hidden_files_of_a_clone_are_neither_read_nor_counted(tmp_path):
    write_hub(tmp_path, {f"data/{split}-00000-of-00001.parquet": hub_table(range(6)) for split in ("train", "test")})
    before = describe(HuggingFaceFolder(path=tmp_path))
    write_hub(tmp_path, {".cache/train-00000-of-00001.parquet": hub_table(range(3))})
    assert describe(HuggingFaceFolder(path=tmp_path)) == before
    assert opened(tmp_path).card.num_examples["train"] == 6


def test_an_undecodable_image_is_named_with_its_file(tmp_path):
    table = hub_table(range(4))
    images = table["image"].to_pylist()
    images[2]["bytes"], images[3]["bytes"] = b"no image", None
    spoilt = table.set_column(0, "image", pa.array(images, table["image"].type))
    source = opened(save_to_disk(tmp_path, train=spoilt, test=table)).images("train")
    for row in (2, 3):
        with pytest.raises(UndecodableImageError) as error:
            source.read(np.array([row]))
        assert error.value.args[:4] == ("huggingface", "train", row, f"data-00000-of-00001.arrow row {row}")


@pytest.mark.parametrize(
    ("splits", "parameters", "message"),
    [
        ({"train": hub_table(range(4)), "tset": hub_table(range(4))}, {}, "no split 'test'. Did you mean: tset"),
        ({"train": hub_table(range(4), [0, 1, -1, 0]), "test": hub_table(range(4))}, {}, "label -1 of row 2 of train"),
        ({"train": hub_table(range(4)), "test": hub_table(range(4), [0, 1, 2, 0])}, {}, "label 2 of row 2 of test"),
        ({"train": hub_table(range(4), [0, None, 1, 0]), "test": hub_table(range(4))}, {}, "row 1 of train has"),
        ({"train": hub_table(range(4), [0] * 4), "test": hub_table(range(4))}, {}, r"class 1 \('bee'\) has no example"),
        ({"train": hub_table(range(4), [[0], [5]] * 2), "test": hub_table(range(4), [[0]] * 4)}, {}, "label 5 of"),
        ({"train": hub_table(range(4), [["cat"], ["dog"]] * 2)}, {}, r"label '\w+' of row . of train is no class"),
        ({"train": hub_table(range(4), [[0], [1, None]] * 2)}, {}, "label None of row . of train is no class number"),
        ({"train": hub_table([])}, {}, "split 'train' is empty"),
        ({}, {"label_column": "lable"}, "no column 'lable'. Did you mean: label"),
        ({}, {"image_column": "img"}, "no column 'img'"),
        ({}, {"val_split": "val"}, "no split 'val'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, splits, parameters, message):
    with pytest.raises(DataError, match=message) as error:
        opened(save_to_disk(tmp_path, **splits), **parameters)
    assert "\n" not in str(error.value)


def empty(root):
    for path in sorted(root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def two_configurations(root):
    empty(root)
    write_hub(root, {"a/train/0000.parquet": hub_table(range(4)), "b/train/0000.parquet": hub_table(range(4))})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "no data in .*; expected a folder as `save_to_disk`"),
        (two_configurations, "split 'train' lies in a/train and b/train, as two configurations do"),
        (lambda root: (root / "test" / "state.json").unlink(), r"state\.json cannot be read \(No such file"),
        (lambda root: (root / "test" / "state.json").write_text("{"), r"state\.json cannot be read"),
        (lambda root: (root / "test" / "state.json").write_text(json.dumps({})), "names no data file"),
        (lambda root: (root / "test" / "state.json").write_text("[1]"), "does not list `_data_files`"),
        (lambda root: (root / "test" / "state.json").write_text('{"_data_files": ["a"]}'), "not list `_data_files`"),
        (lambda root: (root / "dataset_dict.json").write_text("[]"), "does not list `splits`"),
        (lambda root: (root / "train" / "data-00001-of-00002.arrow").unlink(), "no file .*data-00001-of-00002.arrow"),
        (lambda root: (root / "train" / "data-00001-of-00002.arrow").write_bytes(b"spoilt"), "cannot be read as Arrow"),
    ],
)
def test_a_spoilt_folder_is_named(tmp_path, spoil, message):
    root = save_to_disk(tmp_path)
    spoil(root)
    with pytest.raises(DataError, match=message) as error:
        opened(root)
    assert "\n" not in str(error.value)
