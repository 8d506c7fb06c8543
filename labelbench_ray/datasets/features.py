"""Vectors that were made elsewhere, in an ``.npz`` or Parquet file."""

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import (
    check_limits,
    checked_multi_label_splits,
    checked_splits,
    checked_vectors,
    numbered_classes,
)
from labelbench_ray.datasets.memory import VectorsInMemory
from labelbench_ray.datasets.opened import About, OpenedSplits, existing, size_text
from labelbench_ray.datasets.parquet_table import class_names_in, read_columns, rows_by_split
from labelbench_ray.datasets.splits import complete_splits
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS, Floats, Ids, Split

_LAYOUT = (
    "an .npz file with train_features, train_labels, test_features and test_labels, or a .parquet file with the "
    "columns features, label and split"
)


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """Vectors with labels; without a val split, test is halved. Further arrays or columns in the file are ignored.

    Labels are class numbers, or (N, C) zeros and ones (in Parquet lists of C) of a multi-label data set.
    Class names come from ``class_names``, the array ``class_names`` of an npz, or the schema's metadata key ``classes``
    of a Parquet file; else classes are numbered. ``limit`` keeps the first rows of train, ``limit_eval`` those of val
    and test.
    """

    name: ClassVar[str] = "features"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = "vectors"
    path: Path = content_path()
    class_names: tuple[str, ...] | None = None
    limit: int | None = None
    limit_eval: int | None = None
    about: About = placement(About())

    def __post_init__(self) -> None:
        check_limits("dataset features", self.limit, self.limit_eval)

    def open(self) -> OpenedSplits:
        """Read and check everything. Raises DataError naming the array, split, row or class that is wrong."""
        path = existing(self.name, self.path, _LAYOUT)
        stored = read_stored_vectors(path)
        rows, rule = complete_splits(self.name, stored.rows(), self.limit, self.limit_eval)
        raw = {split: stored.labels[stored.part_of(split)][rows[split]] for split in SPLITS}
        class_names = self.class_names or stored.class_names or numbered_classes(raw["train"])
        if stored.is_multi_label:
            labels = checked_multi_label_splits(self.name, raw, class_names)
        else:
            labels = checked_splits(
                self.name, raw, class_names, lambda split, row: f"row {rows[split][row]} of {stored.part_of(split)}"
            )
        vectors = {
            split: VectorsInMemory(
                (len(rows[split]), stored.width),
                functools.partial(read_split, path, split, self.limit, self.limit_eval),
                stored.take(split, rows[split]),
            )
            for split in SPLITS
        }
        card = DatasetCard(
            name=self.name,
            title=self.about.title or path.stem,
            revision=content_fingerprint(path),
            task="multi_label" if stored.is_multi_label else "multi_class",
            main_metric="mean_ap" if stored.is_multi_label else "accuracy",
            modality="vector",
            class_names=class_names,
            num_examples={split: len(rows[split]) for split in SPLITS},
            split_rule=rule,
            licence=self.about.licence,
            citation=self.about.citation,
            approximate_size=size_text(path.stat().st_size),
        )
        return OpenedSplits(card, labels, vectors)


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """What a file holds, part by part: train, test and perhaps val. Every vector is finite, all are equally wide."""

    vectors: dict[Split, Floats]
    labels: dict[Split, NDArray[Any]]
    class_names: tuple[str, ...] | None

    @property
    def width(self) -> int:
        """D."""
        return int(self.vectors["train"].shape[1])

    @property
    def is_multi_label(self) -> bool:
        """Whether a row has a mark for each class, not the number of one."""
        return self.labels["train"].ndim == 2 and self.labels["train"].shape[1] > 1

    def rows(self) -> dict[Split, Ids]:
        """All rows of each part."""
        return {part: np.arange(len(labels)) for part, labels in self.labels.items()}

    def part_of(self, split: Split) -> Split:
        """Where a split's rows lie: val lies in test where the file has no val."""
        return split if split in self.labels else "test"

    def take(self, split: Split, rows: Ids) -> Floats:
        """These rows of the split's part; a view where they are its first rows, as those of a large pool are."""
        part = self.vectors[self.part_of(split)]
        is_prefix = rows[0] == 0 and (np.diff(rows) == 1).all()
        return part[: len(rows)] if is_prefix else part[rows]


def read_split(path: Path, split: Split, limit: int | None, limit_eval: int | None) -> Floats:
    """(N, D) vectors of one split."""
    stored = read_stored_vectors(path)
    rows, _ = complete_splits(FeatureFile.name, stored.rows(), limit, limit_eval)
    return stored.take(split, rows[split])


def read_stored_vectors(path: Path) -> StoredVectors:
    """Read and check a file of either kind. Raises DataError."""
    name = FeatureFile.name
    vectors, labels, class_names = _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
    for part in ("train", "test"):
        if not len(labels.get(part, ())):
            raise DataError(name, f"{path.name} has no rows of {part}; it needs train and test")
    checked: dict[Split, Floats] = {}
    width = None
    for part, raw in vectors.items():
        checked[part] = checked_vectors(name, part, raw, len(labels[part]), width)
        width = checked[part].shape[1]
    return StoredVectors(checked, labels, class_names)


_Parts = tuple[dict[Split, Any], dict[Split, NDArray[Any]], tuple[str, ...] | None]


def _read_npz(path: Path) -> _Parts:
    name = FeatureFile.name
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            wanted = [f"{split}_{what}" for split in SPLITS for what in ("features", "labels")]
            arrays = {key: file[key] for key in (*wanted, "class_names") if key in file.files}
            known = ", ".join(file.files)
    except Exception as error:  # not a zip, cut short, or an array of Python objects
        raise DataError(name, f"{path} cannot be read ({why_not_read(path, error)}); expected {_LAYOUT}") from error
    parts: list[Split] = [split for split in SPLITS if split != "val" or {"val_features", "val_labels"} & set(arrays)]
    for key in (f"{part}_{what}" for part in parts for what in ("features", "labels")):
        if key not in arrays:
            raise DataError(name, f"{path.name} has no array {key!r}; it has {known or 'none'}")
    class_names = tuple(map(str, arrays["class_names"])) if "class_names" in arrays else None
    return (
        {part: arrays[f"{part}_features"] for part in parts},
        {part: arrays[f"{part}_labels"] for part in parts},
        class_names,
    )


def why_not_read(path: Path, error: Exception) -> str:
    """Why numpy does not read it: its own words speak of pickles wherever they find no archive."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not zipfile.is_zipfile(path):
        return "it was cut short or is no .npz file"
    return str(error).partition("\n")[0] or type(error).__name__


def _read_parquet(path: Path) -> _Parts:
    import pyarrow as pa

    name = FeatureFile.name
    table = read_columns(name, path, ["features", "label", "split"])
    vectors_ND = matrix_of(table["features"])
    of_lists = pa.types.is_nested(table["label"].type)
    labels_N = matrix_of(table["label"], "label", "zeros and ones") if of_lists else table["label"].to_numpy()
    given = {split: rows for split, rows in rows_by_split(name, "split", table["split"]).items() if len(rows)}
    return (
        {split: vectors_ND[rows] for split, rows in given.items()},
        {split: labels_N[rows] for split, rows in given.items()},
        class_names_in(name, table.schema),
    )


def matrix_of(column: Any, name: str = "features", of: str = "floats") -> NDArray[Any]:
    """(N, D) from a column of lists. Raises DataError naming the first row of another width."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)):
        raise DataError(FeatureFile.name, f"column {name!r} must hold lists of {of}, got {column.type}")
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(FeatureFile.name, f"row {row} of the file has no vector in column {name!r}; remove the row")
    widths_N = pc.list_value_length(column).to_numpy()
    if len(widths_N) and (widths_N != widths_N[0]).any():
        row = int(np.argmax(widths_N != widths_N[0]))
        raise DataError(
            FeatureFile.name,
            f"row {row} of the file is {widths_N[row]} wide, row 0 is {widths_N[0]} in {name!r}; make them equal",
        )
    matrix_ND: NDArray[Any] = pc.list_flatten(column).to_numpy().reshape(len(widths_N), -1)
    return matrix_ND
