"""Images named by the rows of a CSV file, with their labels and perhaps their splits."""

import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import check_templates
from labelbench_ray.datasets.image_folder import ImageFiles, file_size
from labelbench_ray.datasets.image_list import refuse_missing_images
from labelbench_ray.datasets.opened import About, OpenedSplits, existing, size_text
from labelbench_ray.datasets.parquet_table import rows_by_split
from labelbench_ray.datasets.splits import EIGHTY_TEN_TEN, complete_splits, eighty_ten_ten
from labelbench_ray.datasets.text_labels import labels_of_texts
from labelbench_ray.errors import DataError, SpecError
from labelbench_ray.fingerprint import files_fingerprint, its_bytes
from labelbench_ray.identity import content_path, content_told_by, placement
from labelbench_ray.registry import did_you_mean
from labelbench_ray.types import SPLITS, Ids, Split

NAME = "csv"
LAYOUT = "a CSV file with a header and columns `image` (paths from the file's folder, or from `images`) and `label`"
SPLIT = "split"
"""The column that is taken for the splits, where none is named."""


def _tables_and_images(dataset: "CsvImages") -> str:
    """Digest of the tables' bytes, and of the name and bytes of each image that they name."""

    def files() -> Iterator[tuple[str, Path]]:
        yield from ((f"\0table {place}", path) for place, path in enumerate(dataset.tables))  # no path has such a name
        yield from ((file, dataset.root / file) for file in set(read_listing(dataset).files_N.tolist()))

    # However many images there are, the tables and the folder are looked at every time.
    return files_fingerprint((dataset, dataset.root, *map(its_bytes, dataset.tables)), files)


@dataclass(frozen=True, kw_only=True)
class CsvImages:
    """Images that a table names, by paths from the table's folder or from ``images``; a class name or number for each.

    Splits are the column ``split_column`` (one called ``split`` is taken for it), or further tables ``test_path`` and
    ``val_path``; without either, rows are drawn 80/10/10, and without val, test is halved. Labels are numbers if the
    first one is. ``label_separator: ";"`` makes it a multi-label data set with cells such as ``cat;dog``, or none. A
    file whose name ends in .tsv has tabs between its cells. Absolute paths must lie within the folder of the images.
    """

    name: ClassVar[str] = NAME
    layout: ClassVar[str] = LAYOUT
    default_encoder: ClassVar[str | None] = None
    path: Path = content_told_by(_tables_and_images)
    val_path: Path | None = content_path(None)
    test_path: Path | None = content_path(None)
    images: Path | None = placement(None)
    image_column: str = "image"
    label_column: str = "label"
    split_column: str | None = None
    label_separator: str | None = None
    class_names: tuple[str, ...] | None = None
    on_undecodable: Literal["refuse", "skip"] = "refuse"
    can_flip: bool = True
    templates: tuple[str, ...] = ("a photo of a {}.",)
    about: About = placement(About())

    def __post_init__(self) -> None:
        check_templates("dataset csv", self.templates)
        if self.val_path and not self.test_path:
            raise SpecError("dataset csv", "`val_path` needs `test_path`; give both, or a column of splits")
        if self.test_path and self.split_column:
            raise SpecError("dataset csv", "`split_column` and `test_path` both tell the splits; leave one out")
        if self.label_separator is not None and not self.label_separator.strip():
            raise SpecError("dataset csv", "`label_separator` must be a sign that is not blank, such as ;")

    @property
    def tables(self) -> list[Path]:
        """The files of train, val and test, as many as there are. Raises DataError for one that is missing."""
        given = (self.path, self.val_path, self.test_path)
        return [existing(NAME, path, LAYOUT) for path in given if path is not None]

    @property
    def root(self) -> Path:
        """What the images' paths start from."""
        return existing(NAME, self.images, "a folder of images") if self.images else self.tables[0].parent

    def open(self) -> OpenedSplits:
        """Read the tables. Raises DataError naming the column, row, image or class that is wrong."""
        root, listing = self.root, read_listing(self)
        texts = {split: listing.labels_N[listing.rows[split]].tolist() for split in SPLITS}
        class_names, labels = labels_of_texts(
            NAME, texts, self.class_names, self.label_separator, lambda split, row: listing.where(split, row)
        )
        files = {split: listing.files_N[listing.rows[split]].tolist() for split in SPLITS}
        refuse_missing_images(NAME, root, files, "correct the path, or set `images` to the folder it starts from")
        multi = self.label_separator is not None
        card = DatasetCard(
            name=NAME,
            title=self.about.title or self.path.stem,
            revision=_tables_and_images(self),
            task="multi_label" if multi else "multi_class",
            class_names=class_names,
            num_examples={split: len(files[split]) for split in SPLITS},
            split_rule=listing.rule,
            main_metric="mean_ap" if multi else "accuracy",
            licence=self.about.licence,
            citation=self.about.citation,
            approximate_size=size_text(sum(file_size(NAME, root / file) for file in set(listing.files_N.tolist()))),
            can_flip=self.can_flip,
            templates=self.templates,
        )
        return OpenedSplits(
            card, labels, {split: ImageFiles(root, split, tuple(files[split]), NAME) for split in SPLITS}
        )


@dataclass(frozen=True, eq=False)
class Listing:
    """What the tables say, row by row, and which rows are which split."""

    files_N: NDArray[Any]
    labels_N: NDArray[Any]
    sources_N: NDArray[Any]
    """``row 3 of birds.csv``; the first row below the header is row 0."""
    rows: dict[Split, Ids]
    rule: str

    def where(self, split: Split, row: int) -> str:
        """In which table a row of a split stands."""
        return str(self.sources_N[self.rows[split][row]])


def read_listing(dataset: CsvImages) -> Listing:
    """Read all tables and tell the splits. Raises DataError naming the file, column or row that is wrong."""
    paths, columns = dataset.tables, (dataset.image_column, dataset.label_column)
    wanted = [*columns, *([dataset.split_column] if dataset.split_column else [])]
    tables = [read_table(path, wanted) for path in paths]
    files_N, labels_N = (np.concatenate([table[column].to_numpy(object) for table in tables]) for column in columns)
    sources_N = np.array(
        [f"row {row} of {path.name}" for path, table in zip(paths, tables, strict=True) for row in range(len(table))],
        object,
    )
    files_N = _from_root(files_N, sources_N, dataset)
    if len(tables) > 1:
        if SPLIT in tables[0]:
            raise DataError(NAME, f"{paths[0].name} has a column {SPLIT!r}, though `test_path` is given; remove either")
        ends = np.cumsum([0, *map(len, tables)])
        parts = [np.arange(first, last) for first, last in itertools.pairwise(ends)]
        names: Sequence[Split] = ("train", "val", "test") if len(parts) == 3 else ("train", "test")
        rows, rule = complete_splits(NAME, dict(zip(names, parts, strict=True)))
        return Listing(files_N, labels_N, sources_N, rows, f"tables {', '.join(path.name for path in paths)}; {rule}")
    column = dataset.split_column or SPLIT
    if column not in tables[0]:
        return Listing(files_N, labels_N, sources_N, eighty_ten_ten(len(files_N)), EIGHTY_TEN_TEN)
    rows, rule = complete_splits(NAME, rows_by_split(NAME, column, tables[0][column]))
    return Listing(files_N, labels_N, sources_N, rows, f"column `{column}`; {rule}")


def read_table(path: Path, columns: Sequence[str]) -> Any:
    """All columns of a file as text, a pandas frame. Raises DataError unless it has these columns and a row."""
    import pandas as pd

    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.ParserWarning:
        raise DataError(
            NAME, f"{path.name} has rows with more cells than its header; quote what holds commas"
        ) from None
    except (ValueError, OSError) as error:  # pandas' errors of parsing and Python's of decoding are ValueErrors
        reason = " ".join(str(error).split())
        raise DataError(NAME, f"{path} cannot be read as CSV ({reason}); expected {LAYOUT}") from None
    for column in columns:
        if column not in table:
            near = did_you_mean(column, table.columns)
            raise DataError(NAME, f"{path.name} has no column {column!r}.{near} It has {', '.join(table.columns)}")
    if not len(table):
        raise DataError(NAME, f"{path.name} has no row below its header; expected {LAYOUT}")
    return table


def _from_root(files_N: NDArray[Any], sources_N: NDArray[Any], dataset: CsvImages) -> NDArray[Any]:
    """(N,) paths that start from the root: the data set is the same wherever it lies. Raises DataError naming a row."""
    as_given = (dataset.images or dataset.path.parent).expanduser().absolute()  # a table may know it by this name
    folders = (as_given, dataset.root)
    for row, (file, source) in enumerate(zip(files_N, sources_N, strict=True)):
        if not file:
            raise DataError(NAME, f"{source} names no image; add its path or remove the row")
        if "\0" in file:
            raise DataError(NAME, f"{source} names {file!r}, which no file can be called; correct it")
        if file.startswith("/"):
            path = Path(os.path.normpath(file))
            folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
            if folder is None:
                raise DataError(NAME, f"{source} names {file}, outside {as_given}; set `images` to a folder above it")
            files_N[row] = path.relative_to(folder).as_posix()
    return files_N
