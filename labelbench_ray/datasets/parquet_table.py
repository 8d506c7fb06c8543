"""What images and features in Parquet files have in common: columns, splits and class names."""

import ast
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelbench_ray.errors import DataError
from labelbench_ray.registry import did_you_mean
from labelbench_ray.types import SPLITS, Ids, Split


@contextlib.contextmanager
def reading(dataset: str, path: Path) -> Iterator[None]:
    """Turns what Arrow raises of a file that is not Parquet, or damaged, into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(dataset, f"{path} cannot be read as Parquet ({reason}); write the file again") from None


def open_parquet(dataset: str, path: Path) -> Any:
    """The file, memory-mapped. Raises DataError when it is not Parquet."""
    import pyarrow.parquet as pq

    with reading(dataset, path):
        return pq.ParquetFile(path, memory_map=True)


def read_columns(dataset: str, path: Path, columns: Sequence[str], also: Sequence[str] = ()) -> Any:
    """These columns as an Arrow table; ``also`` must be there but is not read. Raises DataError for a missing one."""
    with open_parquet(dataset, path) as file:
        known = file.schema_arrow.names
        for column in (*columns, *also):
            if column not in known:
                raise DataError(
                    dataset,
                    f"{path.name} has no column {column!r}.{did_you_mean(column, known)} It has {', '.join(known)}",
                )
        with reading(dataset, path):
            return file.read(columns=list(columns))


def rows_by_split(dataset: str, column: str, values: Any) -> dict[Split, Ids]:
    """Rows of the file that are each split, ascending. Raises DataError for a name that is no split."""
    named_N = values.to_numpy().astype(object)
    strange = sorted({str(name) for name in set(named_N.tolist())} - set(SPLITS))
    if strange:
        raise DataError(dataset, f"column {column!r} says {strange[0]!r}; the splits are {', '.join(SPLITS)}")
    return {split: np.flatnonzero(named_N == split).astype(np.int64) for split in SPLITS}


def class_names_in(dataset: str, schema: Any) -> tuple[str, ...] | None:
    """The class names of the metadata key ``classes``, or None. Raises DataError when they are not a list of names."""
    raw = (schema.metadata or {}).get(b"classes")
    if raw is None:
        return None
    names = _parse(raw.decode(errors="replace"))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(
            dataset, f"metadata key `classes` must be a list of names, got {raw[:60]!r}; set `class_names` instead"
        )
    return tuple(names)


def _parse(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
