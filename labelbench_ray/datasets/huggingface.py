"""A folder that the library `datasets` wrote: by ``save_to_disk``, or Parquet files as on its hub.

Both are read with pyarrow, so the library need not be installed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from labelbench_ray.datasets.arrow_files import EncodedFiles, FiledImages, read_column, schema_of
from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import (
    RowName,
    check_templates,
    checked_multi_label_splits,
    checked_splits,
    numbered_classes,
)
from labelbench_ray.datasets.opened import About, OpenedSplits, existing, size_text
from labelbench_ray.datasets.splits import EIGHTY_TEN_TEN, complete_splits, eighty_ten_ten
from labelbench_ray.datasets.text_labels import labels_of_texts, zeros_and_ones
from labelbench_ray.errors import DataError, SpecError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.registry import did_you_mean
from labelbench_ray.types import SPLITS, Ids, Labels, Split

NAME = "huggingface"
LAYOUT = (
    "a folder as `save_to_disk` of the library datasets leaves it, or with Parquet files as its hub has them, such as "
    "data/train-00000-of-00002.parquet"
)
VALIDATION = ("validation", "val", "valid", "dev")
"""What a split for validation is called."""


def data_and_json(folder: Path) -> Iterator[Path]:
    """What counts of the folder: what is read of it and what tells of that, not the notes and caches beside it."""
    yield from (file for file in folder.rglob("*.json") if not _is_hidden(folder, file))
    for files in files_by_split(folder).values():
        yield from files


@dataclass(frozen=True, kw_only=True)
class HuggingFaceFolder:
    """Images and labels that the library `datasets` saved: ``DatasetDict.save_to_disk``, or a clone of a hub's folder.

    A single split is drawn 80/10/10; without a split for validation, test is halved. Labels are a ``ClassLabel``, whole
    numbers or names; a list of ``ClassLabel`` makes a multi-label data set.
    """

    name: ClassVar[str] = NAME
    layout: ClassVar[str] = LAYOUT
    default_encoder: ClassVar[str | None] = None
    path: Path = content_path(files=data_and_json)
    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    val_split: str | None = None
    test_split: str = "test"
    class_names: tuple[str, ...] | None = None
    on_undecodable: Literal["refuse", "skip"] = "refuse"
    can_flip: bool = True
    templates: tuple[str, ...] = ("a photo of a {}.",)
    cache_gib: float = placement(1.0)
    about: About = placement(About())

    def __post_init__(self) -> None:
        check_templates("dataset huggingface", self.templates)
        if self.cache_gib < 0:
            raise SpecError("dataset huggingface", f"`cache_gib` must not be negative, got {self.cache_gib}")

    def open(self) -> OpenedSplits:
        """Read labels and splits. Raises DataError naming the split, column, row or class that is wrong."""
        root = existing(NAME, self.path, LAYOUT)
        found = files_by_split(root)
        wanted = self._wanted(found)
        parts = {split: found[name] for split, name in wanted.items()}
        told = self._feature(parts["train"][0])
        raw = {split: read_column(NAME, files, self.label_column) for split, files in parts.items()}
        rows, rule = _rows({split: len(values) for split, values in raw.items()})
        source: dict[Split, Split] = {split: split if split in parts else _made_of(parts) for split in SPLITS}
        values = {split: [raw[source[split]][row] for row in rows[split]] for split in SPLITS}

        def row_name(split: Split, row: int) -> str:
            return f"row {rows[split][row]} of {wanted[source[split]]}"

        class_names, labels = _labels(values, self.class_names or told.names, told.several, row_name)
        columns = {
            split: EncodedFiles(NAME, files, self.image_column, int(self.cache_gib * 2**30))
            for split, files in parts.items()
        }
        card = DatasetCard(
            name=NAME,
            title=self.about.title or root.name,
            revision=content_fingerprint(root, data_and_json),
            task="multi_label" if told.several else "multi_class",
            class_names=class_names,
            num_examples={split: len(rows[split]) for split in SPLITS},
            split_rule=f"splits {', '.join(wanted.values())}; {rule}",
            main_metric="mean_ap" if told.several else "accuracy",
            licence=self.about.licence,
            citation=self.about.citation,
            approximate_size=size_text(sum(file.stat().st_size for files in parts.values() for file in files)),
            can_flip=self.can_flip,
            templates=self.templates,
        )
        return OpenedSplits(
            card, labels, {split: FiledImages(NAME, split, rows[split], columns[source[split]]) for split in SPLITS}
        )

    def _wanted(self, found: Mapping[str, Sequence[Path]]) -> dict[Split, str]:
        """Which of the folder's splits are ours. Raises DataError for one that is not there."""
        if len(found) == 1 and self.val_split is None:
            return {"train": next(iter(found))}
        val = self.val_split or next((name for name in VALIDATION if name in found and name != self.test_split), None)
        wanted: dict[Split, str] = {"train": self.train_split, "test": self.test_split}
        if val is not None:
            wanted["val"] = val
        for split, name in wanted.items():
            if name not in found:
                near = did_you_mean(name, found)
                raise DataError(NAME, f"no split {name!r}.{near} There are {', '.join(found)}; set `{split}_split`")
        return wanted

    def _feature(self, file: Path) -> "Feature":
        schema = schema_of(NAME, file, [self.image_column, self.label_column])
        return feature_in(schema, self.label_column)


class Feature(NamedTuple):
    """What the schema says of the labels."""

    names: tuple[str, ...] | None
    several: bool


def feature_in(schema: Any, column: str) -> Feature:
    """Class names, where it has them, and whether a row has several labels."""
    import pyarrow as pa

    kept = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = kept.get("info", {}).get("features", {}).get(column, {})
    feature = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
    names = feature.get("names")
    kind = schema.field(column).type
    return Feature(tuple(names) if names else None, pa.types.is_list(kind) or pa.types.is_large_list(kind))


def files_by_split(root: Path) -> dict[str, list[Path]]:
    """Data files of each split by its name here. Raises DataError when the folder has none, or two data sets."""
    if (root / "dataset_dict.json").is_file():
        names = _list_in(root / "dataset_dict.json", "splits", str)
        return {name: _saved_files(root / name) for name in names}
    if (root / "state.json").is_file():
        return {"train": _saved_files(root)}
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.parquet")):
        if not _is_hidden(root, file):
            found.setdefault(_split_of(root, file), []).append(file)
    if not found:
        raise DataError(NAME, f"no data in {root}; expected {LAYOUT}")
    for name, files in found.items():
        folders = sorted({file.parent.relative_to(root).as_posix() for file in files})
        if len(folders) > 1:
            told = f"split {name!r} lies in {folders[0]} and {folders[1]}, as two configurations do"
            raise DataError(NAME, f"{told}; set `path` to one of them")
    return found


def _is_hidden(root: Path, file: Path) -> bool:
    """In .cache or .git, for example."""
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _saved_files(folder: Path) -> list[Path]:
    """The files of a split that was saved. Raises DataError when one is missing."""
    entries = _list_in(folder / "state.json", "_data_files", dict)
    files = [folder / str(entry.get("filename")) for entry in entries]
    for file in files:
        if not file.is_file():
            raise DataError(NAME, f"no file {file}; copy the folder again")
    if not files:
        raise DataError(NAME, f"{folder / 'state.json'} names no data file; save the data set again")
    return files


def _list_in(file: Path, key: str, kind: type) -> list[Any]:
    """What a JSON file lists under a key. Raises DataError for a file that cannot be read, or says something else."""
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(NAME, f"{file} cannot be read ({reason}); save the data set again") from None
    listed = told.get(key, []) if isinstance(told, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, kind) for one in listed):
        raise DataError(NAME, f"{file} does not list `{key}` as the library datasets does; save the data set again")
    return listed


def _split_of(root: Path, file: Path) -> str:
    """``data/train-00000-of-00002.parquet`` and ``train/0000.parquet`` are of train."""
    numbered = re.fullmatch(r"(.+?)-\d+-of-\d+(-[0-9a-f]+)?", file.stem)
    if numbered:
        return numbered[1]
    return file.stem if file.parent == root or not file.stem.isdigit() else file.parent.name


def _rows(counts: Mapping[Split, int]) -> tuple[dict[Split, Ids], str]:
    if set(counts) == {"train"}:
        return eighty_ten_ten(counts["train"]), EIGHTY_TEN_TEN
    return complete_splits(NAME, {split: np.arange(count) for split, count in counts.items()})


def _made_of(parts: Mapping[Split, Any]) -> Split:
    """Where the rows of a split that is not there lie."""
    return "test" if "test" in parts else "train"


def _labels(
    values: Mapping[Split, list[Any]], names: tuple[str, ...] | None, several: bool, row_name: RowName
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    """The classes and checked labels."""
    for split in SPLITS:
        if None in values[split]:
            row = values[split].index(None)
            raise DataError(NAME, f"{row_name(split, row)} has no label; add it or remove the row")
    if several:
        return _several(values, names, row_name)
    if isinstance(next(iter(values["train"]), None), str):
        return labels_of_texts(NAME, values, names, None, row_name)
    classes = names or numbered_classes(values["train"])
    return classes, checked_splits(NAME, {split: np.array(values[split]) for split in SPLITS}, classes, row_name)


def _several(
    values: Mapping[Split, list[list[Any]]], names: tuple[str, ...] | None, row_name: RowName
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    for split in SPLITS:
        for row, numbers in enumerate(values[split]):
            for number in numbers:
                if not isinstance(number, int | float):
                    told = f"label {number!r} of {row_name(split, row)} is no class number"
                    raise DataError(NAME, f"{told}; save lists of `ClassLabel` or of whole numbers")
    classes = names or numbered_classes([number for numbers in values["train"] for number in numbers])
    shown = {split: zeros_and_ones(NAME, split, values[split], len(classes), row_name) for split in SPLITS}
    return classes, checked_multi_label_splits(NAME, shown, classes)
