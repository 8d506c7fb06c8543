"""MLflow as a view of the ledger: the only module that imports mlflow.

One experiment per study; in it one parent run (found by its tag ``labelbench.grid``) and one child run per trial (found
by its tag ``labelbench.trial``). Nothing is remembered here: MLflow itself is asked what it has, so a half-written,
deleted or wiped view is completed by the same code that writes it live.
"""

import contextlib
import fcntl
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from labelbench_ray.benchmark.state import State, TrialLedger, TrialStatus
from labelbench_ray.errors import TrackingError
from labelbench_ray.tracking import view
from labelbench_ray.tracking.connection import address, default_artifact_location, impatient, quiet, reason, sqlite_path

_RUN_STATUS = {"running": "RUNNING", "done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_METRICS_PER_BATCH = 1000  # MLflow's limit
_ATTACHED = "labelbench.attached"  # tag: for which state of the trial its files were uploaded


class Place(NamedTuple):
    """What links to an experiment's pages are made of."""

    experiment_id: str
    has_view: bool
    report_run_id: str | None


class _Grid(NamedTuple):
    client: Any
    experiment_id: str
    parent_id: str


class MlflowTracker:
    """Shows trials of one study. Not for use by several processes at once: the driver is the only writer.

    ``spec`` is the resolved experiment, kept as an artifact; ``varies`` are the labels that names of runs must tell
    (see `view.varying_labels`); ``artifact_location`` counts where the experiment is new and defaults to a folder
    beside a SQLite database, else to the server's choice.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        *,
        artifact_location: str | None = None,
        spec: Mapping[str, Any] | None = None,
        varies: Collection[str] = (),
    ) -> None:
        self._uri = uri
        self._experiment = experiment
        self._artifact_location = artifact_location or default_artifact_location(uri)
        self._spec = spec
        self._varies = varies
        self._grid: _Grid | None = None

    def open(self) -> None:
        """Find or make the experiment and the parent run."""
        with self._connected():
            pass

    def sync_trial(self, trial: TrialLedger) -> None:
        """Complete a trial's run: rounds, params, tags, status, and its files once it has stopped."""
        status, rows = trial.status(), trial.rows()
        has_description = (trial.folder / "trial.json").exists()
        if status.state is None and not has_description:
            return
        description = trial.description() if has_description else {}
        with self._connected() as grid:
            run = self._child(grid, trial, description, rows)
            _log_rounds(grid.client, run, trial, rows)
            _log_facts(grid, run, view.tags_of(trial.trial_id, description, status, rows), view.params_of(description))
            _log_dataset(grid.client, run, description)
            _log_status(grid.client, run, status.state, _modified_ms(trial.folder / "status.json"))
            if status.state == "running":
                _log_status(grid.client, grid.client.get_run(grid.parent_id), "running", 0)
            else:
                _attach_trial(grid.client, run, trial, description, status)

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Put files beside the parent run, replacing those of the same name, and ``note`` into its description."""
        with self._connected() as grid:
            for file in files:
                grid.client.log_artifact(grid.parent_id, str(file))
            if note:
                grid.client.set_tag(grid.parent_id, view.NOTE, note)

    def close(self, state: State) -> None:
        """End the parent run, and those of trials that nobody runs any more."""
        with self._connected() as grid:
            trials = _search(grid.client, grid.experiment_id, {"mlflow.parentRunId": grid.parent_id})
            for run in trials:
                if run.info.status == "RUNNING":
                    _log_status(grid.client, run, "interrupted", _now_ms())
            self._save_view(grid, trials)
            parent = grid.client.get_run(grid.parent_id)
            _log_status(grid.client, parent, state, _now_ms())
            if parent.data.tags.get("labelbench.state") != state:
                grid.client.set_tag(grid.parent_id, "labelbench.state", state)

    def _save_view(self, grid: _Grid, trials: Sequence[Any]) -> None:
        """A page that shows mean learning curves: by default MLflow shows no metric, and one closed row."""
        wanted = view.shared_view((key for run in trials for key in run.data.metrics), self._varies)
        if grid.client.get_experiment(grid.experiment_id).tags.get(view.VIEW_TAG) != wanted:
            grid.client.set_experiment_tag(grid.experiment_id, view.VIEW_TAG, wanted)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[_Grid]:
        """The grid's place, found or made. Any error is a TrackingError, after which everything is looked up anew."""
        with talking_to(self._uri):
            try:
                self._grid = self._grid or self._find_or_make_grid()
                yield self._grid
            except BaseException:
                self._grid = None
                raise

    def _find_or_make_grid(self) -> _Grid:
        client = connect(self._uri)
        experiment_id = self._find_or_make_experiment(client)
        found = _search(client, experiment_id, {"labelbench.grid": self._experiment})
        tags = {"labelbench.grid": self._experiment, "mlflow.source.name": "labelbench", "mlflow.source.type": "LOCAL"}
        parent = found[0] if found else client.create_run(experiment_id, run_name=self._experiment, tags=tags)
        if self._spec is not None:
            client.log_dict(parent.info.run_id, dict(self._spec), "experiment.yaml")
        return _Grid(client, experiment_id, parent.info.run_id)

    def _find_or_make_experiment(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            made: str = client.create_experiment(self._experiment, artifact_location=self._artifact_location)
            return made
        if found.lifecycle_stage == "deleted":  # else its name could never be used again
            client.restore_experiment(found.experiment_id)
        there: str = found.experiment_id
        return there

    def _child(self, grid: _Grid, trial: TrialLedger, description: Mapping[str, Any], rows: pa.Table) -> Any:
        num_labeled = rows["num_labeled"][-1].as_py() if rows.num_rows else None
        name = view.run_name(description, trial.trial_id, self._varies, num_labeled)
        found = _search(grid.client, grid.experiment_id, {"labelbench.trial": trial.trial_id})
        if found:
            if found[0].info.run_name != name:
                grid.client.update_run(found[0].info.run_id, name=name)
            return found[0]
        tags = {"labelbench.trial": trial.trial_id, "mlflow.parentRunId": grid.parent_id}
        return grid.client.create_run(grid.experiment_id, _started_ms(trial), tags, name)


def _log_rounds(client: Any, run: Any, trial: TrialLedger, rows: pa.Table) -> None:
    """Log the rounds MLflow does not have, one batch each, marked by the metric ``round`` as the last thing.

    The time of a metric is that of the round's file: where a crash, or a lost answer, or more than one batch left a
    round half logged, the same values are the same rows for MLflow's database.
    """
    from mlflow.entities import Metric

    last_shown = run.data.metrics.get(view.ROUND, -1)
    for told in view.rounds_of(rows):
        if told.round <= last_shown:
            continue
        when = _modified_ms(trial.folder / "rounds" / f"{told.round:04d}" / "rows.parquet")
        values = {**told.values, view.ROUND: float(told.round)}
        metrics = [Metric(key, value, when, told.num_labeled) for key, value in values.items()]
        for first in range(0, len(metrics), _METRICS_PER_BATCH):
            client.log_batch(run.info.run_id, metrics=metrics[first : first + _METRICS_PER_BATCH])


def _log_facts(grid: _Grid, run: Any, tags: Mapping[str, str], params: Mapping[str, str]) -> None:
    """Log tags that changed and params that are missing: params are write-once."""
    from mlflow.entities import Param, RunTag

    wanted = {**tags, "mlflow.parentRunId": grid.parent_id}
    new_tags = [RunTag(key, value) for key, value in wanted.items() if run.data.tags.get(key) != value]
    new_params = [Param(key, value) for key, value in params.items() if key not in run.data.params]
    if new_tags or new_params:
        grid.client.log_batch(run.info.run_id, params=new_params, tags=new_tags)
    for key in view.outdated_tags(run.data.tags, tags):
        grid.client.delete_tag(run.info.run_id, key)


def _log_dataset(client: Any, run: Any, description: Mapping[str, Any]) -> None:
    told = view.dataset_of(description)
    if told is None or (run.inputs and run.inputs.dataset_inputs):
        return
    from mlflow.entities import Dataset, DatasetInput

    name, digest, source = told
    dataset = Dataset(name=name, digest=digest, source_type="labelbench", source=source)
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, tags=[])])


def _log_status(client: Any, run: Any, state: State | None, ended_ms: int) -> None:
    status = _RUN_STATUS[state or "running"]
    if run.info.status == status:
        return
    if status == "RUNNING":
        client.update_run(run.info.run_id, status=status)
    else:
        client.set_terminated(run.info.run_id, status=status, end_time=ended_ms)


def _attach_trial(
    client: Any, run: Any, trial: TrialLedger, description: Mapping[str, Any], status: TrialStatus
) -> None:
    stamp = f"{status.state} after {status.finished_rounds} rounds"
    if run.data.tags.get(_ATTACHED) == stamp:
        return
    run_id = run.info.run_id
    if description:
        client.log_dict(run_id, dict(description), "trial.json")
    bought = trial.bought()
    if bought.num_rows:
        client.log_text(run_id, json.dumps(view.bought_as_table(bought)), "bought.json")
        client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": "bought.json", "type": "table"}]))
    client.set_tag(run_id, _ATTACHED, stamp)


def _search(client: Any, experiment_id: str, tags: Mapping[str, str]) -> list[Any]:
    """Runs that have these tags, oldest first."""
    wanted = " and ".join(f"tags.`{key}` = '{_quoted(value)}'" for key, value in tags.items())
    order = ["attributes.start_time ASC"]
    page = client.search_runs([experiment_id], wanted, order_by=order)
    found = list(page)
    while page.token:
        page = client.search_runs([experiment_id], wanted, order_by=order, page_token=page.token)
        found.extend(page)
    return found


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def connect(uri: str) -> Any:
    """An MLflow client. A new SQLite database is made first."""
    from mlflow import MlflowClient

    if path := sqlite_path(uri):
        create_database(path)
    return MlflowClient(tracking_uri=uri)


def create_database(path: Path) -> None:
    """Make the database once: under a lock, in a draft that is renamed when whole.

    Two processes that open the same empty file spoil it for good, and so does a kill in the middle.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        draft = path.with_name(f".{path.name}.draft")
        draft.unlink(missing_ok=True)
        _initialize(f"sqlite:///{draft}", path.parent / "mlflow-artifacts")
        draft.replace(path)


def _initialize(uri: str, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts.as_uri()).engine.dispose()


@contextlib.contextmanager
def talking_to(uri: str) -> Iterator[None]:
    """Quiet and impatient while we talk to MLflow; what goes wrong is a TrackingError without credentials."""
    with impatient():
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        with quiet():
            try:
                yield
            except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
                raise TrackingError(address(uri), reason(error, uri)) from error


def find_place(uri: str, experiment: str | None = None) -> Place | None:
    """Where an experiment's pages are; of the one that changed last where no name is given. Raises TrackingError."""
    with talking_to(uri):
        client = connect(uri)
        if experiment is None:
            newest = client.search_experiments(max_results=1, order_by=["last_update_time DESC"])
            found = newest[0] if newest else None
        else:
            found = client.get_experiment_by_name(experiment)
        if found is None:
            return None
        parents = _search(client, found.experiment_id, {"labelbench.grid": found.name})
        files = {file.path for file in client.list_artifacts(parents[0].info.run_id)} if parents else set()
        report = parents[0].info.run_id if "report.html" in files else None
        return Place(str(found.experiment_id), view.VIEW_TAG in found.tags, report)


def _started_ms(trial: TrialLedger) -> int:
    """When the trial began. A resumed one wrote its description again, so its first round may be older."""
    files = (trial.folder / "trial.json", trial.folder / "rounds" / "0000" / "rows.parquet")
    return min((_modified_ms(file) for file in files if file.exists()), default=_now_ms())


def _modified_ms(file: Path) -> int:
    try:
        return int(file.stat().st_mtime * 1000)
    except FileNotFoundError:
        return _now_ms()


def _now_ms() -> int:
    return int(time.time() * 1000)
