"""Tiny data sets in the real layouts, and how each registered data set is opened on one."""

import io
import json
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from published_files import write_caltech256, write_cars, write_celeba, write_coco, write_kmnist49, write_mat, write_voc

from labelbench_ray.datasets.base import DATASETS
from labelbench_ray.datasets.fmow import CLASSES as FMOW_CLASSES
from labelbench_ray.datasets.imagenet import CLASSES


def noise_image(number, size=(9, 7), mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encode(picture, format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


class Python2Pickler(pickle._Pickler):
    """Writes as the Python 2 that made the archives did: byte strings, and 0 and 1 for flags."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)

    def save_text(self, value):
        self.save_bytes(value.encode("latin1"))

    def save_bool(self, value):
        self.write(pickle.BININT1 + bytes([value]))

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text
    dispatch[bool] = save_bool


def dump_as_python2(value, path):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2, fix_imports=True).dump(value)
    path.write_bytes(buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def write_cifar(root, num_classes=10, rows_per_file=20):
    """A folder as torchvision leaves it; image i of a file is all of the value of its label."""
    folder, files, key = {
        10: ("cifar-10-batches-py", [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], "labels"),
        100: ("cifar-100-python", ["train", "test"], "fine_labels"),
    }[num_classes]
    (root / folder).mkdir(parents=True)
    for file in files:
        labels = [number % num_classes for number in range(rows_per_file)]
        data = np.repeat(np.array(labels, np.uint8)[:, None], 3072, axis=1)
        dump_as_python2(
            {"batch_label": file, key: labels, "data": data, "filenames": ["x"] * len(labels)}, root / folder / file
        )
    return root


def write_image_folder(root, splits=("train", "test"), classes=("ant", "bee"), per_class=4):
    for split in splits:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(per_class):
                (folder / f"{number}.png").write_bytes(encode(noise_image(number)))
    return root


def image_table(splits=("train",) * 6 + ("test",) * 4, labels=None, images=None, classes='["ant", "bee"]', **columns):
    labels = labels if labels is not None else [number % 2 for number in range(len(splits))]
    images = images if images is not None else [encode(noise_image(number)) for number in range(len(splits))]
    table = pa.table({"image": pa.array(images, pa.binary()), "label": labels, "split": list(splits), **columns})
    return table.replace_schema_metadata({"classes": classes} if classes else {})


def write_parquet(path, table=None, row_group_size=3):
    pq.write_table(table if table is not None else image_table(), path, row_group_size=row_group_size)
    return path


def feature_arrays(num_train=12, num_test=6, width=3, num_classes=2):
    rng = np.random.default_rng(0)
    return {
        "train_features": rng.normal(size=(num_train, width)).astype(np.float16),
        "train_labels": np.arange(num_train) % num_classes,
        "test_features": rng.normal(size=(num_test, width)).astype(np.float16),
        "test_labels": np.arange(num_test) % num_classes,
    }


def write_features(path, **changes):
    np.savez(path, **{key: value for key, value in (feature_arrays() | changes).items() if value is not None})
    return path


def write_svhn(root, num_train=30, num_test=20, **changes):
    """The authors' two files; image i of a file is all of the value of its label, where the digit nought is 10."""
    root.mkdir(parents=True, exist_ok=True)
    for file, count in (("train_32x32.mat", num_train), ("test_32x32.mat", num_test)):
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)
        pixels = np.broadcast_to(labels, (32, 32, 3, count))
        variables = {"X": pixels, "y": labels[:, None]} | (changes if file.startswith("train") else {})
        held = {key: value for key, value in variables.items() if value is not None}
        write_mat(root / file, held, do_compression=True)
    return root


def write_imagenet(root, num_val=20, classes=tuple(CLASSES)):
    """One image per class in train; in val, image i is of class i and one pixel wider than the one before."""
    pictures = [encode(noise_image(number, (8 + number, 8)), "JPEG") for number in range(max(1, num_val))]
    for wordnet_id in classes:
        folder = root / "train" / wordnet_id
        folder.mkdir(parents=True)
        (folder / f"{wordnet_id}_1.JPEG").write_bytes(pictures[0])
    for number, wordnet_id in enumerate(classes[:num_val]):
        folder = root / "val" / wordnet_id
        folder.mkdir(parents=True)
        (folder / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(pictures[number])
    return root


def write_table(file, header, rows):
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def iwildcam_rows():
    """Rows of metadata.csv: split, y, filename; WILDS sorts them by the split's name."""
    counts = {"id_test": 4, "id_val": 3, "test": 2, "train": 7, "val": 2}
    splits = [split for split, count in counts.items() for _ in range(count)]
    return [(split, row % 3, f"{row:03}.jpg") for row, split in enumerate(splits)]


def write_iwildcam(root, rows=None, categories=((0, 0, "empty"), (1, 2, "ocelot"), (2, 5, "puma"), (99999, 9, "bat"))):
    """A table whose image i is i + 1 pixels wide."""
    rows = rows if rows is not None else iwildcam_rows()
    (root / "train").mkdir(parents=True)
    columns = [(row, split, 1, y, "2013-05-01 06:00:00.000", name) for row, (split, y, name) in enumerate(rows)]
    write_table(root / "metadata.csv", ",split,location_remapped,y,datetime,filename", columns)
    write_table(root / "categories.csv", "y,category_id,name", categories)
    for row, (_, _, name) in enumerate(rows):
        (root / "train" / name).write_bytes(encode(noise_image(row, (row + 1, 2)), "JPEG"))
    return root


def fmow_rows():
    """Rows of rgb_metadata.csv: split, category, timestamp. Each class in the pool, then each rule of the splits."""
    pool = [("train", name, "2010-05-01T10:00:00Z") for name in FMOW_CLASSES]
    evaluated = [
        (split, name, f"{time}T10:00:00Z")
        for split in ("val", "test", "train")
        for time in ("2012-12-31", "2013-01-01", "2016-01-01")
        for name in ("zoo", "airport")
    ]
    return [*pool, *evaluated, ("seq", "zoo", "2010-05-01T10:00:00Z")]


def write_fmow(root, rows=None):
    """A table whose image i is i + 1 pixels wide."""
    rows = rows if rows is not None else fmow_rows()
    (root / "images").mkdir(parents=True)
    write_table(root / "rgb_metadata.csv", "split,category,timestamp,country_code", [(*row, "CHE") for row in rows])
    for row in range(len(rows)):
        (root / "images" / f"rgb_img_{row}.png").write_bytes(encode(noise_image(row, (row + 1, 2))))
    return root


def write_csv(root, rows=None, header="image,label,split", name="birds.csv"):
    """A table and the images that it names, image i made of noise i."""
    splits = ("train",) * 6 + ("test",) * 4
    rows = rows if rows is not None else [(f"all/{n}.png", ("ant", "bee")[n % 2], s) for n, s in enumerate(splits)]
    root.mkdir(parents=True, exist_ok=True)
    write_table(root / name, header, rows)
    for number, (file, *_) in enumerate(rows):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(encode(noise_image(number)))
    return root / name


def hub_table(numbers, labels=None, names=("ant", "bee"), **columns):
    """Images of these numbers, and labels of a ClassLabel, as the library `datasets` (5.2) writes them."""
    labels = labels if labels is not None else [number % 2 for number in numbers]
    images = [{"bytes": encode(noise_image(number)), "path": None} for number in numbers]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    label = {"names": list(names), "_type": "ClassLabel"}
    several = any(isinstance(one, list) for one in labels)
    features = {"image": {"_type": "Image"}, "label": {"feature": label, "_type": "List"} if several else label}
    told = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    return pa.table({"image": pa.array(images, kind), "label": labels, **columns}).replace_schema_metadata(told)


def save_split(folder, tables):
    """What `Dataset.save_to_disk` leaves, a file for each table."""
    folder.mkdir(parents=True)
    files = [f"data-{number:05}-of-{len(tables):05}.arrow" for number in range(len(tables))]
    for file, table in zip(files, tables, strict=True):
        with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))


def save_to_disk(root, **splits):
    """What `DatasetDict.save_to_disk` leaves; a split is a table, or several."""
    splits = splits or {"train": [hub_table(range(4)), hub_table(range(4, 6))], "test": hub_table(range(100, 104))}
    for name, tables in splits.items():
        save_split(root / name, tables if isinstance(tables, list) else [tables])
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return root


def tiny_spec(name, folder: Path):
    """The spec that opens this data set on tiny files made in the folder. A new data set gets a line here."""
    make = {
        "digits": lambda: {},
        "cifar10": lambda: {"path": str(write_cifar(folder, 10))},
        "cifar100": lambda: {"path": str(write_cifar(folder, 100, rows_per_file=200))},
        "svhn": lambda: {"path": str(write_svhn(folder))},
        "imagenet": lambda: {"path": str(write_imagenet(folder))},
        "iwildcam": lambda: {"path": str(write_iwildcam(folder / "iwildcam_v2.0"))},
        "fmow": lambda: {"path": str(write_fmow(folder / "fmow_v1.1"))},
        "caltech256": lambda: {"path": str(write_caltech256(folder))},
        "celeba": lambda: {"path": str(write_celeba(folder))},
        "coco2014": lambda: {"path": str(write_coco(folder))},
        "kmnist49": lambda: {"path": str(write_kmnist49(folder))},
        "stanford_cars": lambda: {"path": str(write_cars(folder))},
        "voc2012": lambda: {"path": str(write_voc(folder))},
        "image_folder": lambda: {"path": str(write_image_folder(folder / "images"))},
        "parquet": lambda: {"path": str(write_parquet(folder / "images.parquet"))},
        "csv": lambda: {"path": str(write_csv(folder))},
        "huggingface": lambda: {"path": str(save_to_disk(folder / "saved"))},
        "features": lambda: {"path": str(write_features(folder / "vectors.npz"))},
        "transformed": lambda: {
            "of": tiny_spec("cifar10", folder),
            "by": [{"name": "long_tail", "ratio": 0.2}, {"name": "duplicates", "rows": 5}],
        },
        "near_duplicates": lambda: {"of": tiny_spec("cifar10", folder), "rows": 5, "copies": 2},
    }
    assert name in make, f"data set {name!r} has no tiny files; add a line to tests/dataset_files.py"
    return {"name": name, **make[name]()}


def open_tiny(name, folder: Path):
    return DATASETS.build(tiny_spec(name, folder)).open()
