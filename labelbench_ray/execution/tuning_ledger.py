"""What a search measured: one typed Parquet row per configuration and length, each its own file, in order.

    <results>/tuning/<search>/search.json                  what was asked, and with what it was made
    <results>/tuning/<search>/measurements/000003.parquet  the fourth measurement

The searched fields are columns under their own names. A file is there whole or not at all, so a search that was
stopped goes on from the rows it has.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from labelbench_ray.benchmark.state import TrialLedger, as_parquet
from labelbench_ray.benchmark.writing import write_json, writing
from labelbench_ray.config import Tuning
from labelbench_ray.config.search import Dimension
from labelbench_ray.errors import LedgerError
from labelbench_ray.storage.place import Where, place_at

Verdict = Literal["goes on", "stopped", "finished", "failed"]
"""What became of a configuration after a measurement; ``stopped`` ones were not among the best of their length."""

COLUMNS = [
    ("search", pa.string()),
    ("configuration", pa.int64()),
    ("rung", pa.int32()),
    ("share", pa.float64()),
    ("metric", pa.string()),
    ("value", pa.float64()),
    ("verdict", pa.string()),
    ("error", pa.string()),
    ("seconds", pa.float64()),
    ("numeric_class", pa.string()),
]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One configuration, trained at one length and measured on the validation split."""

    configuration: int
    values: dict[str, Any]
    """Of the searched fields."""
    rung: int
    share: float
    metric: str
    value: float | None
    """None where it failed."""
    verdict: Verdict
    error: str = ""
    seconds: float = 0.0
    numeric_class: str = ""


class TuningLedger:
    """The folder of one search."""

    def __init__(self, results: Where, tuning: Tuning) -> None:
        self.place = place_at(results).below("tuning").below(tuning.id)
        self._search, self._space = tuning.id, tuning.space
        self._schema = pa.schema([*COLUMNS, *((field, _column(told)) for field, told in tuning.space.items())])

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the search. Raises TrialLockedError when another process does, LedgerError when it cannot be written."""
        with TrialLedger(self.place).lock():
            yield

    def describe(self, told: dict[str, Any]) -> None:
        """Keep what was asked."""
        write_json(self.place, "search.json", told)

    def add(self, measurement: Measurement) -> None:
        """Write one row, atomically. Raises LedgerError."""
        told = {key: value for key, value in vars(measurement).items() if key != "values"}
        searched = {field: _stored(self._space[field], value) for field, value in measurement.values.items()}
        row = {"search": self._search, **told, **searched}
        name = f"measurements/{len(self._names()):06d}.parquet"
        with writing(f"{self.place.where}/{name}"):
            self.place.write(name, as_parquet(pa.Table.from_pylist([row], schema=self._schema)))

    def measurements(self) -> list[Measurement]:
        """All rows, in the order in which they were written. Raises LedgerError."""
        return [measurement for name in self._names() for measurement in self._read(name)]

    def _names(self) -> list[str]:
        names = self.place.below("measurements").names()
        return [f"measurements/{name}" for name in sorted(names) if name.endswith(".parquet")]

    def _read(self, name: str) -> list[Measurement]:
        try:
            rows = pq.read_table(pa.BufferReader(self.place.read(name))).select(self._schema.names).to_pylist()
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise LedgerError(
                f"{self.place.where}/{name}", f"cannot be read ({error})", "delete it and run again"
            ) from None
        return [self._measurement(row) for row in rows]

    def _measurement(self, row: dict[str, Any]) -> Measurement:
        del row["search"]
        values = {field: _original(told, row.pop(field)) for field, told in self._space.items()}
        return Measurement(values=values, **row)


def _column(dimension: Dimension) -> pa.DataType:
    if dimension.kind == "integers":
        return pa.int64()
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in dimension.values)
    return pa.float64() if numbers else pa.string()


def _stored(dimension: Dimension, value: Any) -> Any:
    return json.dumps(value) if _column(dimension) == pa.string() else value


def _original(dimension: Dimension, stored: Any) -> Any:
    """A choice as the file names it, so that 10 does not come back as 10.0."""
    if dimension.kind != "choice":
        return stored
    return next(value for value in dimension.values if _stored(dimension, value) == stored)
