"""Encoded images in one Parquet file."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import check_limits, check_templates, checked_splits, numbered_classes
from labelbench_ray.datasets.decode import decode_rgb
from labelbench_ray.datasets.memory import checked_ids
from labelbench_ray.datasets.opened import About, OpenedSplits, existing, size_text
from labelbench_ray.datasets.parquet_table import class_names_in, open_parquet, read_columns, reading, rows_by_split
from labelbench_ray.datasets.splits import complete_splits
from labelbench_ray.errors import SpecError, UndecodableImageError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import Ids, Image, Split


@dataclass(frozen=True, kw_only=True)
class ParquetImages:
    """Encoded images, class numbers and splits in one file; without a val split, test is halved.

    Class names come from ``class_names`` or the schema's metadata key ``classes``, a list as JSON or Python writes it.
    Row groups are read as needed and kept up to ``cache_gib``, so write large files with small row groups. ``limit``
    keeps the first rows of train, ``limit_eval`` those of val and test. ``on_undecodable`` says what embedding does
    with an image that cannot be decoded.
    """

    name: ClassVar[str] = "parquet"
    layout: ClassVar[str] = "a Parquet file with columns of encoded images, class numbers and splits"
    default_encoder: ClassVar[str | None] = None
    path: Path = content_path()
    image_column: str = "image"
    label_column: str = "label"
    split_column: str = "split"
    class_names: tuple[str, ...] | None = None
    limit: int | None = None
    limit_eval: int | None = None
    on_undecodable: Literal["refuse", "skip"] = "refuse"
    can_flip: bool = True
    templates: tuple[str, ...] = ("a photo of a {}.",)
    cache_gib: float = placement(1.0)
    about: About = placement(About())

    def __post_init__(self) -> None:
        check_limits("dataset parquet", self.limit, self.limit_eval)
        check_templates("dataset parquet", self.templates)
        if self.cache_gib < 0:
            raise SpecError("dataset parquet", f"`cache_gib` must not be negative, got {self.cache_gib}")

    def open(self) -> OpenedSplits:
        """Read labels and splits. Raises DataError naming the column, split, row or class that is wrong."""
        path = existing(self.name, self.path, self.layout)
        table = read_columns(self.name, path, [self.label_column, self.split_column], also=[self.image_column])
        given = rows_by_split(self.name, self.split_column, table[self.split_column])
        rows, rule = complete_splits(self.name, given, self.limit, self.limit_eval)
        numbers_N = table[self.label_column].to_numpy()
        class_names = (
            self.class_names or class_names_in(self.name, table.schema) or numbered_classes(numbers_N[rows["train"]])
        )
        raw = {split: numbers_N[rows[split]] for split in rows}
        labels = checked_splits(self.name, raw, class_names, lambda split, row: f"row {rows[split][row]} of the file")
        column = EncodedColumn(path, self.image_column, int(self.cache_gib * 2**30))
        card = DatasetCard(
            name=self.name,
            title=self.about.title or path.stem,
            revision=content_fingerprint(path),
            class_names=class_names,
            num_examples={split: len(rows[split]) for split in rows},
            split_rule=f"column `{self.split_column}`; {rule}",
            licence=self.about.licence,
            citation=self.about.citation,
            approximate_size=size_text(path.stat().st_size),
            can_flip=self.can_flip,
            templates=self.templates,
        )
        return OpenedSplits(card, labels, {split: EncodedImages(split, rows[split], column) for split in rows})


class EncodedColumn:
    """Random access to a column of bytes, row group by row group. Pickled, it is a path; threads may share it."""

    def __init__(self, path: Path, column: str, cache_bytes: int) -> None:
        self.path = path
        self._column = column
        self._cache_bytes = cache_bytes
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._file: Any = None
        self._borders = np.empty(0, np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return EncodedColumn, (self.path, self._column, self._cache_bytes)

    def read(self, rows: Ids) -> list[bytes | None]:
        """The values of these rows of the file, in this order; each row group is visited once."""
        with self._lock:
            self._open()
            groups = np.searchsorted(self._borders, rows, side="right") - 1
            values: list[bytes | None] = [None] * len(rows)
            for group in np.unique(groups):
                column = self._group(int(group))
                for place in np.flatnonzero(groups == group):
                    values[place] = column[int(rows[place] - self._borders[group])].as_py()
            return values

    def _open(self) -> None:
        if self._file is None:
            self._file = open_parquet(ParquetImages.name, self.path)
            counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
            self._borders = np.cumsum([0, *counts], dtype=np.int64)

    def _group(self, group: int) -> Any:
        if group not in self._kept:
            with reading(ParquetImages.name, self.path):
                self._kept[group] = self._file.read_row_group(group, columns=[self._column])[self._column]
            while len(self._kept) > 1 and sum(column.nbytes for column in self._kept.values()) > self._cache_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]


class EncodedImages:
    """The images of one split, decoded as they are read."""

    def __init__(self, split: Split, rows_N: Ids, column: EncodedColumn) -> None:
        self._split = split
        self._rows_N = rows_N
        self._column = column

    def __len__(self) -> int:
        return len(self._rows_N)

    def read(self, ids: Ids) -> list[Image]:
        """Decode the images of these ids, in this order. Raises UndecodableImageError naming the id, file and row."""
        wanted = checked_ids(ids, len(self))
        encoded = self._column.read(self._rows_N[wanted])
        return [self._decode(int(example_id), value) for example_id, value in zip(wanted, encoded, strict=True)]

    def name_of(self, example_id: int) -> str:
        """The file and row."""
        return f"{self._column.path.name} row {self._rows_N[example_id]}"

    def _decode(self, example_id: int, encoded: bytes | None) -> Image:
        try:
            return decode_rgb(encoded)
        except ValueError as error:
            source = self.name_of(example_id)
            raise UndecodableImageError(ParquetImages.name, self._split, example_id, source, str(error)) from error
