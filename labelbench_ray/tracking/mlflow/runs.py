"""A trial's run: what MLflow has of it, what the ledger tells, and the few calls between the two.

MLflow takes 5 to 30 ms a call, so everything that a trial's look has to tell goes into as few as its API allows.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from labelbench_ray.benchmark.state import DESCRIPTION, STATUS, State, TrialLedger, TrialStatus, round_file
from labelbench_ray.tracking import view

RUN_STATUS = {"running": "RUNNING", "done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
ATTACHED = "labelbench.attached"
"""Tag: for which state of the trial everything was logged. Written last."""

_METRICS_PER_BATCH = 800
"""With 100 params and 100 tags a batch has the 1,000 entries that MLflow takes."""

_ROUNDS_AT_ONCE = 100
"""Read and held in memory: more than most trials have."""


@dataclass
class Shown:
    """What MLflow has of a run, as far as we must know it to tell it what is new."""

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    params: set[str]
    metrics: set[str]
    num_rounds: int
    has_dataset: bool
    artifacts: str
    """Where its files lie, as MLflow says it."""
    started_ms: int

    @classmethod
    def of(cls, run: Any) -> Self:
        """As MLflow told it."""
        return cls(
            run_id=run.info.run_id,
            name=run.info.run_name,
            status=run.info.status,
            tags=dict(run.data.tags),
            params=set(run.data.params),
            metrics=set(run.data.metrics),
            num_rounds=int(run.data.metrics.get(view.ROUND, -1)) + 1,
            has_dataset=bool(run.inputs and run.inputs.dataset_inputs),
            artifacts=run.info.artifact_uri,
            started_ms=run.info.start_time,
        )

    @classmethod
    def unborn(cls, name: str, experiment_artifacts: str, started_ms: int) -> Self:
        """A run that is not there yet, with an id as MLflow would give it."""
        run_id = uuid.uuid4().hex
        return cls(
            run_id=run_id,
            name=name,
            status="RUNNING",
            tags={},
            params=set(),
            metrics=set(),
            num_rounds=0,
            has_dataset=False,
            artifacts=f"{experiment_artifacts}/{run_id}/artifacts",
            started_ms=started_ms,
        )

    @property
    def num_rounds_with_tags(self) -> int:
        """How many rounds are shown with what their rows say of the whole trial."""
        return self.num_rounds if view.NUMERIC_CLASS in self.tags else 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the ledger tells of a trial."""

    trial: TrialLedger
    status: TrialStatus
    description: view.Description

    @classmethod
    def read(cls, trial: TrialLedger) -> Self:
        """As on disk. A trial that failed before it could describe itself has an empty description."""
        trial = trial.now()
        description = trial.description() if trial.has_description() else {}
        return cls(trial=trial, status=trial.status(), description=description)

    @property
    def is_nothing(self) -> bool:
        """Never started."""
        return self.status.state is None and not self.description

    @property
    def has_ended(self) -> bool:
        """It began, and nobody works on it."""
        return self.status.state not in (None, "running")

    @property
    def is_short(self) -> bool:
        """All its rounds fit into one part."""
        return self.status.finished_rounds <= _ROUNDS_AT_ONCE

    def rows_beyond(self, shown: Shown | None) -> Iterator[pa.Table]:
        """Rows of rounds that MLflow lacks; of an evaluation all, since they say how many labels it is of.

        In parts, one at least, perhaps an empty one. What is shown is not read again, and no more is held than a part:
        a trial of 10,000 rounds costs the driver no more time and memory to follow than one of ten.
        """
        is_evaluation = self.description.get("kind") == "evaluation"
        first = 0 if shown is None or is_evaluation else shown.num_rounds_with_tags
        for part in range(first, max(first + 1, self.status.finished_rounds), _ROUNDS_AT_ONCE):
            yield self.trial.rows(part, min(part + _ROUNDS_AT_ONCE, self.status.finished_rounds))

    def stamp(self, registered_as: str | None) -> str:
        """What `ATTACHED` says once all of this is shown."""
        told = f"{self.status.state} after {self.status.finished_rounds} rounds"
        return f"{told}, model registered as {registered_as}" if registered_as else told


def log_new(client: Any, shown: Shown, told: Told, rows: pa.Table, tags: Mapping[str, str]) -> None:
    """Log rounds, params (write-once) and ``tags`` that MLflow lacks, in one call where they fit.

    A round ends with the metric ``round``, and the tags come after all metrics. The time of a metric is that of the
    round's file: where a crash, a lost answer or the end of a batch left a round half logged, the same values are the
    same rows for MLflow's database.
    """
    from mlflow.entities import Param, RunTag

    new_params = {key: value for key, value in view.params_of(told.description).items() if key not in shown.params}
    new_tags = {key: value for key, value in tags.items() if shown.tags.get(key) != value}
    metrics = log_rounds(client, shown, told, rows, at_least=_METRICS_PER_BATCH + 1)
    if metrics or new_params or new_tags:
        entries = [Param(*param) for param in new_params.items()], [RunTag(*tag) for tag in new_tags.items()]
        client.log_batch(shown.run_id, metrics, *entries)
    shown.num_rounds = max(shown.num_rounds, told.status.finished_rounds)
    shown.params |= set(new_params)
    shown.tags |= new_tags


def log_rounds(client: Any, shown: Shown, told: Told, rows: pa.Table, at_least: int = 1) -> list[Any]:
    """Log metrics of new rounds, batch by batch, as long as there are ``at_least`` so many; returns the rest."""
    metrics = new_metrics(shown, told.trial, rows)
    shown.metrics |= {metric.key for metric in metrics}
    while len(metrics) >= at_least:
        client.log_batch(shown.run_id, metrics=metrics[:_METRICS_PER_BATCH])
        metrics = metrics[_METRICS_PER_BATCH:]
    return metrics


def new_metrics(shown: Shown, trial: TrialLedger, rows: pa.Table) -> list[Any]:
    """Those of rounds that are not shown, as MLflow's ``Metric``, round by round."""
    from mlflow.entities import Metric

    metrics = []
    for told in view.rounds_of(rows):
        if told.round >= shown.num_rounds:
            when = modified_ms(trial, round_file(told.round))
            values = {**told.values, view.ROUND: float(told.round)}
            metrics += [Metric(key, value, when, told.num_labeled) for key, value in values.items()]
    return metrics


def drop_tags(client: Any, shown: Shown, keys: Collection[str]) -> None:
    """Take back what is no longer true."""
    for key in keys:
        client.delete_tag(shown.run_id, key)
        del shown.tags[key]


def log_dataset(client: Any, shown: Shown, description: view.Description) -> None:
    """The data set as an input, with its digest."""
    told = view.dataset_of(description)
    if told is None or shown.has_dataset:
        return
    from mlflow.entities import Dataset, DatasetInput

    name, digest, source = told
    dataset = Dataset(name=name, digest=digest, source_type="labelbench", source=source)
    client.log_inputs(shown.run_id, [DatasetInput(dataset, tags=[])])
    shown.has_dataset = True


def attach_files(uri: str, shown: Shown, told: Told) -> dict[str, str]:
    """Upload what was asked and what was bought; returns the tags that make MLflow show them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    bought = told.trial.bought()
    with tempfile.TemporaryDirectory() as draft:
        if told.description:
            (Path(draft) / "trial.json").write_text(json.dumps(told.description, indent=2))
        if bought.num_rows:
            (Path(draft) / "bought.json").write_text(json.dumps(view.bought_as_table(bought)))
        get_artifact_repository(shown.artifacts, tracking_uri=uri).log_artifacts(draft)
    return {"mlflow.loggedArtifacts": json.dumps([{"path": "bought.json", "type": "table"}])} if bought.num_rows else {}


def set_status(client: Any, shown: Shown, state: State | None, ended_ms: int) -> None:
    """Tell how a run stands, if that is news."""
    status = RUN_STATUS[state or "running"]
    if shown.status == status:
        return
    if status == "RUNNING":
        client.update_run(shown.run_id, status=status)
    else:
        client.set_terminated(shown.run_id, status=status, end_time=ended_ms)
    shown.status = status


def started_ms(trial: TrialLedger) -> int:
    """When the trial began. A resumed one wrote its description again, so its first round may be older."""
    names = (DESCRIPTION, round_file(0), STATUS)
    return min(modified_ms(trial, name) for name in names)


def modified_ms(trial: TrialLedger, name: str) -> int:
    """When a file of a trial was written, or now where it is gone."""
    try:
        return int(trial.place.modified(name) * 1000)
    except FileNotFoundError:
        return now_ms()


def now_ms() -> int:
    """In MLflow's unit."""
    return int(time.time() * 1000)
