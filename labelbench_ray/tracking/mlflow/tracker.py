"""The tracker of one study: the parent run, and a run for each trial."""

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from labelbench_ray.benchmark.run_folder import running
from labelbench_ray.benchmark.state import STATUS, Ledger, State, TrialLedger
from labelbench_ray.errors import LedgerError, TrackingError
from labelbench_ray.tracking import view
from labelbench_ray.tracking.connection import address, default_artifact_location
from labelbench_ray.tracking.mlflow import direct, registry, runs
from labelbench_ray.tracking.mlflow.machine import Machine
from labelbench_ray.tracking.mlflow.runs import Shown, Told
from labelbench_ray.tracking.mlflow.server import (
    connect,
    engine_of,
    forget_connections,
    load,
    search,
    talking_to,
    which_database,
)

_FILES = "labelbench.files"
"""Tag of the parent run: digests of the files it was given."""


@dataclass
class _Grid:
    """What MLflow has of a study. True for as long as nobody else writes it; an error makes us ask again."""

    client: Any
    experiment_id: str
    artifacts: str
    """Where files of the experiment lie."""
    parent: Shown
    trials: dict[str, Shown]
    view: str | None
    """The stored view of the page of runs."""
    database: int | None


class MlflowTracker:
    """Shows the trials of a ledger. Not for use by several threads at once.

    ``spec`` is the resolved experiment, kept as an artifact; ``varies`` are the labels that names of runs must tell
    (see `view.varying_labels`); ``artifact_location`` counts where the experiment is new and defaults to a folder
    beside a SQLite database, else to the server's choice; ``register_models`` is the registered model whose versions
    are the models of finished evaluations, none are registered without it.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        ledger: Ledger,
        *,
        artifact_location: str | None = None,
        spec: Mapping[str, Any] | None = None,
        varies: Collection[str] = (),
        register_models: str | None = None,
    ) -> None:
        self._uri = uri
        self._experiment = experiment
        self._ledger = ledger
        self._artifact_location = artifact_location or default_artifact_location(uri)
        self._spec = spec
        self._varies = varies
        self._register_models = register_models
        self._machine = Machine()
        self._grid: _Grid | None = None

    def load(self) -> None:
        """Import what of MLflow is needed."""
        load()

    def open(self) -> None:
        """Find or make the experiment and the parent run."""
        with self._connected():
            pass

    def sync_trial(self, trial: TrialLedger) -> None:
        """Complete a trial's run: rounds, params, tags, status, and its files once it has stopped."""
        told = Told.read(trial)
        if not told.is_nothing:
            with self._connected() as grid:
                self._show(grid, told)

    def watch_machine(self) -> None:
        """Add how this machine is doing to the parent run, now and then."""
        if self._machine.is_due():
            with self._connected() as grid:
                self._machine.log(grid.client, grid.parent)

    def attach(self, files: Sequence[Path], note: str = "") -> None:
        """Put files beside the parent run, replacing those of the same name; links and ``note`` describe it."""
        with self._connected() as grid:
            known = json.loads(grid.parent.tags.get(_FILES, "{}"))
            found = {file.name: _digest(file) for file in files}
            for file in files:
                if known.get(file.name) != found[file.name]:
                    grid.client.log_artifact(grid.parent.run_id, str(file))
            _set_tag(grid, _FILES, json.dumps({**known, **found}, sort_keys=True))
            if note:
                links = [view.file_link(grid.experiment_id, grid.parent.run_id, file.name) for file in files]
                _set_tag(grid, view.NOTE, f"{' · '.join(links)}\n\n{note}")

    def close(self, state: State) -> None:
        """End the runs of trials that nobody runs any more, and the parent run unless another driver goes on."""
        state = "running" if running(self._ledger.place) else state
        with self._connected() as grid:
            for trial_id, shown in tuple(grid.trials.items()):
                if shown.status == "RUNNING":
                    self._end(grid, trial_id, shown)
            self._save_view(grid)
            runs.set_status(grid.client, grid.parent, state, runs.now_ms())
            _set_tag(grid, "labelbench.state", state)

    def _end(self, grid: _Grid, trial_id: str, shown: Shown) -> None:
        """Tell how a trial ended that still counts as running, unless somebody holds it."""
        with contextlib.suppress(LedgerError):  # one that cannot be read does not keep the study from its end
            told = Told.read(self._ledger.trial(trial_id))
            if told.is_nothing:  # its folder is gone
                runs.set_status(grid.client, shown, "interrupted", runs.now_ms())
            elif told.has_ended:
                self._show(grid, told)

    def _save_view(self, grid: _Grid) -> None:
        """A page that shows mean learning curves: by default MLflow shows no metric, and one closed row."""
        shown = grid.trials.values()
        series = {run.tags.get(view.SERIES, "") for run in shown if run.tags.get("labelbench.kind") == "selection"}
        wanted = view.shared_view({key for run in shown for key in run.metrics}, self._varies, series)
        if grid.view != wanted:
            grid.client.set_experiment_tag(grid.experiment_id, view.VIEW_TAG, wanted)
            grid.view = wanted

    @contextlib.contextmanager
    def _connected(self) -> Iterator[_Grid]:
        """The grid's place, found or made. Any error of MLflow is a TrackingError; then all is looked up anew."""
        with talking_to(self._uri):
            try:
                if self._grid and self._grid.database != which_database(self._uri):
                    raise TrackingError(address(self._uri), "the database was removed or replaced")
                self._grid = self._grid or self._find_or_make_grid()
                yield self._grid
            except LedgerError:
                raise
            except BaseException:
                self._grid = None
                raise

    def _find_or_make_grid(self) -> _Grid:
        forget_connections(self._uri)
        client = connect(self._uri)
        experiment = self._find_or_make_experiment(client)
        found = search(client, experiment.experiment_id, {"labelbench.grid": self._experiment})
        tags = {"labelbench.grid": self._experiment, "mlflow.source.name": "labelbench", "mlflow.source.type": "LOCAL"}
        parent = (
            found[0] if found else client.create_run(experiment.experiment_id, run_name=self._experiment, tags=tags)
        )
        if self._spec is not None:
            client.log_dict(parent.info.run_id, dict(self._spec), "experiment.yaml")
        trials = _trials(client, experiment.experiment_id, parent.info.run_id) if found else {}
        return _Grid(
            client=client,
            experiment_id=experiment.experiment_id,
            artifacts=experiment.artifact_location,
            parent=Shown.of(parent),
            trials=trials,
            view=experiment.tags.get(view.VIEW_TAG),
            database=which_database(self._uri),
        )

    def _find_or_make_experiment(self, client: Any) -> Any:
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            made = client.create_experiment(self._experiment, artifact_location=self._artifact_location)
            return client.get_experiment(made)
        if found.lifecycle_stage == "deleted":  # else its name could never be used again
            client.restore_experiment(found.experiment_id)
        return found

    def _child(self, grid: _Grid, shown: Shown | None, told: Told, name: str, tags: Mapping[str, str]) -> Shown:
        if shown is None:
            started = runs.started_ms(told.trial)
            return Shown.of(grid.client.create_run(grid.experiment_id, started, dict(tags), name))
        if shown.name != name:
            grid.client.update_run(shown.run_id, name=name)
            shown.name = name
        return shown

    def _show(self, grid: _Grid, told: Told) -> None:
        """Make or complete a trial's run, as the ledger tells it."""
        trial_id = told.trial.trial_id
        shown = grid.trials.get(trial_id)
        parts = told.rows_beyond(shown)
        rows = next(parts)
        tags = view.tags_of(trial_id, told.description, told.status)
        tags |= view.tags_of_rows(rows, shown.tags if shown else {})
        tags |= {view.SERIES: self._series(told, rows), "mlflow.parentRunId": grid.parent.run_id}
        name = view.run_name(tags[view.SERIES], told.description)
        if shown is None and told.has_ended and told.is_short and self._can_insert(told):
            grid.trials[trial_id] = self._insert(grid, told, name, rows, tags)
            return
        shown = grid.trials[trial_id] = self._child(grid, shown, told, name, tags)
        for part in parts:
            runs.log_rounds(grid.client, shown, told, rows)
            tags |= view.tags_of_rows(part, tags)
            rows = part
        self._complete(grid, shown, told, rows, tags)

    def _complete(self, grid: _Grid, shown: Shown, told: Told, rows: pa.Table, tags: dict[str, str]) -> None:
        """Tell what a run lacks: inputs, files, the last part of its rows, tags and its status."""
        runs.log_dataset(grid.client, shown, told.description)
        if told.has_ended:
            tags |= self._attach(grid, shown, told)
        runs.log_new(grid.client, shown, told, rows, tags)
        runs.drop_tags(grid.client, shown, view.outdated_tags(shown.tags, tags))
        runs.set_status(grid.client, shown, told.status.state, runs.modified_ms(told.trial, STATUS))
        if told.status.state == "running":
            runs.set_status(grid.client, grid.parent, "running", 0)

    def _series(self, told: Told, rows: pa.Table) -> str:
        num_labeled = rows["num_labeled"][-1].as_py() if rows.num_rows else None
        return view.series_name(told.description, told.trial.trial_id, self._varies, num_labeled)

    def _can_insert(self, told: Told) -> bool:
        registers = self._register_models is not None and registry.has_model(told)
        return not registers and direct.is_possible(self._uri)

    def _insert(self, grid: _Grid, told: Told, name: str, rows: pa.Table, tags: Mapping[str, str]) -> Shown:
        """A whole run at once: its files, then everything else in one transaction."""
        shown = Shown.unborn(name, grid.artifacts, runs.started_ms(told.trial))
        shown.tags = {**tags, **self._attach(grid, shown, told), "mlflow.runName": shown.name}
        direct.insert(engine_of(self._uri), grid.experiment_id, shown, told, rows)
        return shown

    def _attach(self, grid: _Grid, shown: Shown, told: Told) -> dict[str, str]:
        """Files and the model, if that was not done for this state of the trial; returns the tags that say so."""
        name = self._register_models if registry.has_model(told) else None
        stamp = told.stamp(name)
        if shown.tags.get(runs.ATTACHED) == stamp:
            return {}
        tags = runs.attach_files(self._uri, shown, told)
        if name:
            registry.register(grid.client, self._uri, name, shown, told)
        return tags | {runs.ATTACHED: stamp}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2s").hexdigest()


def _set_tag(grid: _Grid, key: str, value: str) -> None:
    if grid.parent.tags.get(key) != value:
        grid.client.set_tag(grid.parent.run_id, key, value)
        grid.parent.tags[key] = value


def _trials(client: Any, experiment_id: str, parent_id: str) -> dict[str, Shown]:
    """Runs by trial. Two drivers may have made two for one trial: the older one stays."""
    found: dict[str, Shown] = {}
    for run in search(client, experiment_id, {"mlflow.parentRunId": parent_id}):
        trial = run.data.tags.get("labelbench.trial")
        if trial in found:
            client.delete_run(run.info.run_id)
        elif trial:
            found[trial] = Shown.of(run)
    return found
