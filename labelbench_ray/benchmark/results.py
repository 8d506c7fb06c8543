"""Result rows: their columns, and how one round is written and read.

The ledger is the truth; MLflow and the report are made from it. A round is one folder, renamed into place when whole:

    <results>/trials/<trial>/rounds/0003/rows.parquet     one row per (split, metric)
    <results>/trials/<trial>/rounds/0003/bought.parquet   the batch bought at the end of the round, for round 4

Round 0 trains on the initial batch; its ``bought.parquet`` holds batch 0 (drawn) and batch 1 (selected). Batch b
is what round b trains on first. The last round buys nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from labelbench_ray.errors import LedgerError
from labelbench_ray.types import Labels, Task, TrialKind

SCHEMA_VERSION = 2
"""2 added ``model``; rows of version 1 are read with the trainer's name there."""

COST = "cost"
"""The split of rows that measure the machine, not the model: seconds, memory, annotation rounds. They differ between
two equal runs; all other rows do not. What a strategy tells of a selection that did not compare every row is here too,
as ``select_compared_rows`` or ``select_recall``."""

ROW_SCHEMA = pa.schema(
    [
        ("trial", pa.string()),  # content id of the trial
        ("kind", pa.string()),  # selection | evaluation
        ("dataset", pa.string()),
        ("encoder", pa.string()),
        ("trainer", pa.string()),  # of the trial
        ("model", pa.string()),  # the trainer of this round: another one only where the trial's is a blend
        ("strategy", pa.string()),  # of the trial that selected, also for evaluations
        ("oracle", pa.string()),
        ("schedule", pa.string()),  # "20+20x5": initial + labels a round x rounds
        ("seed", pa.int64()),
        ("round", pa.int32()),
        ("num_labeled", pa.int64()),
        ("split", pa.string()),  # pool | val | test | train | cost; test_ap, class by class, of a multi-label task
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("bought", pa.string()),  # digest of the set of (id, label) trained on
        ("initial", pa.string()),  # digest of the initial batch: equal for all strategies of a seed
        ("numeric_class", pa.string()),  # device, instruction set, library, dtype: rows of different classes may differ
        ("cheats", pa.bool_()),  # the strategy looked at labels nobody bought
    ],
    metadata={"labelbench_ray_schema": str(SCHEMA_VERSION)},
)

BOUGHT_SCHEMA = pa.schema(
    [
        ("trial", pa.string()),
        ("batch", pa.int32()),
        ("rank", pa.int64()),  # order of buying within the batch
        ("example_id", pa.int64()),
        ("label", pa.int64()),
    ],
    metadata={"labelbench_ray_schema": str(SCHEMA_VERSION)},
)

BOUGHT_VECTORS_SCHEMA = BOUGHT_SCHEMA.set(
    BOUGHT_SCHEMA.get_field_index("label"), pa.field("label", pa.list_(pa.int8()))
)
"""Of a multi_label task: C zeros and ones for each row."""


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """What all rows of a round share: the columns of ROW_SCHEMA but split, metric and value."""

    trial: str
    kind: TrialKind
    dataset: str
    encoder: str
    trainer: str
    model: str
    strategy: str
    oracle: str
    schedule: str
    seed: int
    round: int
    num_labeled: int
    bought: str
    initial: str
    numeric_class: str
    cheats: bool


def rows_table(key: RowKey, values: Mapping[str, Mapping[str, float]]) -> pa.Table:
    """Rows of one round from ``{split: {metric: value}}``, in that order."""
    shared = asdict(key)
    rows = [
        {**shared, "split": split, "metric": metric, "value": float(value)}
        for split, metrics in values.items()
        for metric, value in metrics.items()
    ]
    return pa.Table.from_pylist(rows, schema=ROW_SCHEMA)


def bought_table(trial: str, batches: Iterable[tuple[int, Any, Any]], task: Task = "multi_class") -> pa.Table:
    """Rows of ``(batch, ids, labels)`` in order of buying."""
    schema = bought_schema(task)
    tables = [schema.empty_table()]
    for batch, ids, labels in batches:
        columns = {
            "trial": [trial] * len(ids),
            "batch": np.full(len(ids), batch),
            "rank": np.arange(len(ids)),
            "example_id": np.asarray(ids),
            "label": np.asarray(labels) if task == "multi_class" else list(np.asarray(labels)),
        }
        tables.append(pa.table(columns).cast(schema))
    return pa.concat_tables(tables)


def bought_schema(task: Task) -> pa.Schema:
    """The columns of what a trial bought."""
    return BOUGHT_SCHEMA if task == "multi_class" else BOUGHT_VECTORS_SCHEMA


def bought_labels(bought: pa.Table) -> Labels:
    """(L,) labels of a table of what was bought, or (L, C) zeros and ones."""
    column = bought["label"].combine_chunks()
    is_vectors = pa.types.is_list(column.type)
    labels: Labels = (column.flatten() if is_vectors else column).to_numpy().astype(np.int64)
    return labels.reshape(len(column), -1) if is_vectors else labels


def check_schema(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """The table with its columns in order. Raises LedgerError for rows of another version or another shape."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    version = (table.schema.metadata or {}).get(b"labelbench_ray_schema", b"none").decode(errors="replace")
    if version not in ("1", str(SCHEMA_VERSION)):
        raise LedgerError(where, f"rows of schema {version}", f"this version reads schemas 1 to {SCHEMA_VERSION}")
    if version == "1" and "trainer" in table.column_names:
        table = table.append_column("model", table["trainer"])
    if schema is BOUGHT_SCHEMA and "label" in table.column_names and pa.types.is_list(table["label"].type):
        schema = BOUGHT_VECTORS_SCHEMA
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowException) as error:
        raise LedgerError(where, f"rows do not fit the schema ({error})", "move the file away and run again") from None
