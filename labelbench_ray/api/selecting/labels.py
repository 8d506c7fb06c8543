"""The labels there are: read from CSV files or Label Studio's exports, and held against the pool."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labelbench_ray.api.selecting import label_studio
from labelbench_ray.api.selecting.pool import OwnPool, Tell
from labelbench_ray.errors import LabelsError
from labelbench_ray.registry import did_you_mean
from labelbench_ray.types import Ids, Labels


class Told(NamedTuple):
    """A label as a file tells it."""

    id: str
    label: str
    where: str
    """``line 3``, for errors."""


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Labels of the pool, by ascending row: in what order a file has them changes nothing."""

    ids_L: Ids
    names_L: tuple[str, ...]

    def numbered(self, class_names: Sequence[str]) -> Labels:
        """(L,) numbers of these classes."""
        number_of = {name: number for number, name in enumerate(class_names)}
        return np.array([number_of[name] for name in self.names_L], np.int64)


def read_labels(paths: Sequence[Path], pool: OwnPool, tell: Tell) -> GivenLabels:
    """What these files say of the pool. Raises LabelsError for an unknown id and for labels that contradict."""
    found: dict[int, str] = {}
    told_in: dict[int, str] = {}
    num_blank = num_again = 0
    for path in paths:
        for told in _read(path):
            row = pool.row_of(told.id)
            if row is None:
                complaint = f"{told.where}: id {told.id!r} is not in the pool {pool.path.name}."
                raise LabelsError(path, complaint + pool.ids_in_words(told.id))
            if not told.label:
                num_blank += 1
                continue
            if row in found and found[row] != told.label:
                complaint = f"{told.where} says {told.label!r} of id {told.id!r}, {told_in[row]} says {found[row]!r}"
                raise LabelsError(path, f"{complaint}; keep the right one")
            num_again += row in found
            found[row], told_in[row] = told.label, f"{told.where} of {path.name}"
    if num_blank:
        tell(f"{num_blank} rows have no label yet and were passed over")
    if num_again:
        tell(f"{num_again} labels are there twice, and agree")
    rows = sorted(found)
    return GivenLabels(np.array(rows, np.int64), tuple(found[row] for row in rows))


def class_names(classes: Path | None, given: GivenLabels) -> tuple[str, ...]:
    """All classes, sorted: those of the file, one a line, or those that labels name. Raises LabelsError."""
    if classes is None:
        return tuple(sorted(set(given.names_L)))
    names = sorted({line.strip() for line in _text(classes).splitlines() if line.strip()})
    for name in given.names_L:
        if name not in names:
            told = f"class {name!r} of a label is not in it.{did_you_mean(name, names)} Add it, or correct the label"
            raise LabelsError(classes, told)
    return tuple(names)


def _read(path: Path) -> Iterator[Told]:
    text = _text(path)
    if path.suffix.lower() == ".json":
        yield from (Told(*answer) for answer in _read_export(path, text))
        return
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name.strip() for name in reader.fieldnames or ()]
    for column in ("id", "label"):
        if column not in columns:
            complaint = f"has no column {column!r}; its first line should be `id,label`"
            raise LabelsError(path, f"{complaint}, and is {','.join(columns)[:60]!r}")
    reader.fieldnames = columns
    for row in reader:
        yield Told((row["id"] or "").strip(), (row["label"] or "").strip(), f"line {reader.line_num}")


def _read_export(path: Path, text: str) -> list[tuple[str, str, str]]:
    try:
        return list(label_studio.answers(json.loads(text)))
    except ValueError as error:
        raise LabelsError(path, f"is no export of Label Studio ({error}); export as JSON") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelsError(path, f"cannot be read ({error.strerror}); give the path of a file") from None
    except UnicodeDecodeError:
        raise LabelsError(path, "is not text in UTF-8; save it so") from None
