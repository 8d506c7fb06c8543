"""A new run straight into MLflow's SQLite database: one transaction, a tenth of the time that MLflow's own calls take.

Through its API a run of 10 rounds is 18 sessions and 300 objects of SQLAlchemy. Used for trials that ended before they
were first shown, which is where a grid of many short trials spends its time. Written for the MLflow it was compared
with, table by table, in a test; every other version gets calls.
"""

import sys
import uuid
from typing import Any

import pyarrow as pa

from labelbench_ray.benchmark.state import STATUS
from labelbench_ray.tracking import view
from labelbench_ray.tracking.connection import sqlite_path
from labelbench_ray.tracking.mlflow.runs import RUN_STATUS, Shown, Told, modified_ms, new_metrics

KNOWN = "3.17."
"""Versions whose tables are known."""


def is_possible(uri: str) -> bool:
    """Whether the address is a SQLite file whose tables are known."""
    import mlflow

    return sqlite_path(uri) is not None and mlflow.__version__.startswith(KNOWN)


def insert(engine: Any, experiment_id: str, shown: Shown, told: Told, rows: pa.Table) -> None:
    """Write a run that MLflow does not have, whole or not at all. ``shown`` has its name, times and tags."""
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import insert

    params = view.params_of(told.description)
    metrics = _metric_rows(new_metrics(shown, told.trial, rows))
    shown.status = RUN_STATUS[told.status.state or "running"]
    entries = {
        models.SqlRun: [_run_row(experiment_id, shown, modified_ms(told.trial, STATUS))],
        models.SqlTag: [{"key": key, "value": value} for key, value in shown.tags.items()],
        models.SqlParam: [{"key": key, "value": value} for key, value in params.items()],
        models.SqlMetric: metrics,
        models.SqlLatestMetric: list({row["key"]: row for row in metrics}.values()),
    }
    dataset = view.dataset_of(told.description)
    with engine.begin() as connection:
        for table, found in entries.items():
            if found:
                connection.execute(insert(table), [{"run_uuid": shown.run_id, **entry} for entry in found])
        if dataset:
            _link_dataset(connection, experiment_id, shown.run_id, *dataset)
    shown.params, shown.metrics = set(params), {row["key"] for row in metrics}
    shown.num_rounds, shown.has_dataset = told.status.finished_rounds, dataset is not None


def _run_row(experiment_id: str, shown: Shown, ended_ms: int) -> dict[str, Any]:
    return {
        "experiment_id": int(experiment_id),
        "name": shown.name,
        "artifact_uri": shown.artifacts,
        "status": shown.status,
        "start_time": shown.started_ms,
        "end_time": ended_ms,
        "user_id": "unknown",
        "source_type": "UNKNOWN",
        "source_name": "",
        "source_version": "",
        "entry_point_name": "",
        "lifecycle_stage": "active",
    }


def _metric_rows(metrics: list[Any]) -> list[dict[str, Any]]:
    """Rows as MLflow has them: NaN is 0 with a mark, infinity the largest number there is."""
    rows = []
    for metric in dict.fromkeys(metrics):
        is_nan = metric.value != metric.value
        value = 0.0 if is_nan else min(max(metric.value, -sys.float_info.max), sys.float_info.max)
        row = {"key": metric.key, "value": value, "is_nan": is_nan}
        rows.append(row | {"timestamp": metric.timestamp, "step": metric.step})
    return rows


def _link_dataset(connection: Any, experiment_id: str, run_id: str, name: str, digest: str, source: str) -> None:
    """The data set as the run's input; it is entered once for an experiment."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput
    from sqlalchemy import insert, select

    same = (SqlDataset.experiment_id == int(experiment_id), SqlDataset.name == name, SqlDataset.digest == digest)
    dataset = connection.execute(select(SqlDataset.dataset_uuid).where(*same)).scalar()
    if dataset is None:
        dataset = uuid.uuid4().hex
        row = {"dataset_uuid": dataset, "experiment_id": int(experiment_id), "name": name, "digest": digest}
        connection.execute(insert(SqlDataset), row | {"dataset_source_type": "labelbench", "dataset_source": source})
    link = {"input_uuid": uuid.uuid4().hex, "source_type": "DATASET", "destination_type": "RUN"}
    connection.execute(insert(SqlInput), link | {"source_id": dataset, "destination_id": run_id})
