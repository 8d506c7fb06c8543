"""Pools without labels: vectors in a file, or a folder of images. For choosing what to label, not for studies.

They satisfy ``Dataset`` so that they are embedded and stored as any other, and are in no table: a study needs labels.
Only the split train is there; every label of it is ``UNKNOWN``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_vectors
from labelbench_ray.datasets.features import matrix_of, why_not_read
from labelbench_ray.datasets.image_folder import ImageFiles, image_files
from labelbench_ray.datasets.memory import VectorsInMemory
from labelbench_ray.datasets.opened import OpenedSplits, existing
from labelbench_ray.datasets.parquet_table import open_parquet, read_columns, rows_by_split
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.identity import content_path
from labelbench_ray.types import Floats, Images, Labels, Rows, Split

POOL = "pool"
UNKNOWN = -1
"""The label of a row that nobody has labelled."""

ARRAYS = ("features", "train_features")
"""Of an npz file, in the order in which they are looked for."""

_LAYOUT = "an .npz file with `features` (and `id`), or a .parquet file with the columns features (and id)"


@dataclass(frozen=True, kw_only=True)
class UnlabelledVectors:
    """Vectors in an ``.npz`` file (arrays ``features`` and perhaps ``id``) or a Parquet file (columns of these names).

    Files of labelled vectors do as well: of an npz with ``train_features``, and of a Parquet file with a column
    ``split``, the pool is train. Labels in the file are not read.
    """

    name: ClassVar[str] = POOL
    default_encoder: ClassVar[str | None] = "vectors"
    path: Path = content_path()

    def open(self) -> OpenedSplits:
        """Read and check the vectors. Raises DataError naming the array, column or row that is wrong."""
        path = existing(POOL, self.path, _LAYOUT)
        vectors_ND = self.read(path)
        num_rows, width = vectors_ND.shape
        source = VectorsInMemory((num_rows, width), partial(self.read, path), vectors_ND)
        sources: dict[Split, Rows] = {"train": source}
        card = _card(path, content_fingerprint(path), num_rows, "vector")
        return OpenedSplits(card, unknown_labels(num_rows), sources)

    def ids(self) -> tuple[str, ...] | None:
        """What the file calls its rows, or None. Raises DataError unless each row has an id of its own."""
        path = existing(POOL, self.path, _LAYOUT)
        given = _ids_in_parquet(path) if path.suffix == ".parquet" else _ids_in_npz(path)
        return None if given is None else _distinct(given)

    def read(self, path: Path) -> Floats:
        """(N, D) vectors, all finite."""
        raw = _vectors_in_parquet(path) if path.suffix == ".parquet" else _vectors_in_npz(path)
        if not len(raw):
            raise DataError(POOL, f"{path.name} has no row; give a pool of at least one")
        return checked_vectors(POOL, "the pool", raw, len(raw), None)


@dataclass(frozen=True, kw_only=True)
class UnlabelledImages:
    """All images below a folder, however deep; an image's id is its path in it. Hidden files are passed over.

    The images alone are its revision: notes and labels may lie beside them.
    What cannot be decoded is left out: it cannot be shown to an annotator either.
    """

    name: ClassVar[str] = POOL
    default_encoder: ClassVar[str | None] = None
    on_undecodable: ClassVar[Literal["refuse", "skip"]] = "skip"
    path: Path = content_path(files=image_files)

    def open(self) -> OpenedSplits:
        """List the files. Raises DataError when there is none."""
        root = existing(POOL, self.path, "a folder of images")
        files = self.ids()
        sources: dict[Split, Images] = {"train": ImageFiles(root, "train", files)}
        revision = content_fingerprint(root, image_files)
        return OpenedSplits(_card(root, revision, len(files), "image"), unknown_labels(len(files)), sources)

    def ids(self) -> tuple[str, ...]:
        """Paths relative to the folder, sorted. Raises DataError when there is none."""
        root = existing(POOL, self.path, "a folder of images")
        first = len(str(root).rstrip("/")) + 1
        files = tuple(sorted(file[first:] for file in image_files(root)))
        if not files:
            raise DataError(POOL, f"no image below {root}; give a folder of images, or a file of vectors")
        return files


def _card(path: Path, revision: str, num_rows: int, modality: Literal["image", "vector"]) -> DatasetCard:
    return DatasetCard(
        name=POOL,
        title=path.name,
        revision=revision,
        modality=modality,
        class_names=(),
        num_examples={"train": num_rows},
        split_rule="none",
        licence="not stated",
        citation="not stated",
        approximate_size="not stated",
    )


def unknown_labels(num_rows: int) -> dict[Split, Labels]:
    """Of a pool that nobody has labelled."""
    return {"train": np.full(num_rows, UNKNOWN, np.int64)}


def _npz(path: Path, wanted: Sequence[str]) -> tuple[Any, str]:
    """The first of these arrays that the file has, or None; and all that it has, in words. Raises DataError."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = next((key for key in wanted if key in file.files), None)
            return None if found is None else file[found], ", ".join(file.files)
    except Exception as error:  # not a zip, cut short, or an array of Python objects
        told = f"{path} cannot be read ({why_not_read(path, error)}); expected {_LAYOUT}"
        raise DataError(POOL, told) from error


def _vectors_in_npz(path: Path) -> Any:
    vectors_ND, known = _npz(path, ARRAYS)
    if vectors_ND is None:
        raise DataError(POOL, f"{path.name} has no array 'features'; it has {known or 'none'}")
    return vectors_ND


def _ids_in_npz(path: Path) -> list[str] | None:
    ids_N, _ = _npz(path, ("id",))
    if ids_N is None:
        return None
    num_rows = len(_vectors_in_npz(path))
    if ids_N.shape != (num_rows,):
        told = f"`id` has shape {ids_N.shape}; give one id for each of the {num_rows} rows of features"
        raise DataError(POOL, told)
    return [str(one) for one in ids_N.tolist()]


def _in_train(path: Path, column: str) -> Any:
    """A column of a Parquet file, of the rows that are the pool."""
    with open_parquet(POOL, path) as file:
        has_split = "split" in file.schema_arrow.names
    table = read_columns(POOL, path, [column, "split"] if has_split else [column])
    return table[column].take(rows_by_split(POOL, "split", table["split"])["train"]) if has_split else table[column]


def _vectors_in_parquet(path: Path) -> Any:
    return matrix_of(_in_train(path, "features"))


def _ids_in_parquet(path: Path) -> list[str] | None:
    with open_parquet(POOL, path) as file:
        if "id" not in file.schema_arrow.names:
            return None
    column = _in_train(path, "id")
    if column.null_count:
        raise DataError(POOL, f"{column.null_count} rows of {path.name} have no id; give each one")
    return [str(one) for one in column.to_pylist()]


def _distinct(ids: list[str]) -> tuple[str, ...]:
    first_row: dict[str, int] = {}
    for row, one in enumerate(ids):
        if first_row.setdefault(one, row) != row:
            told = f"id {one!r} stands at row {first_row[one]} and at row {row}; give each row its own"
            raise DataError(POOL, told)
    return tuple(ids)
