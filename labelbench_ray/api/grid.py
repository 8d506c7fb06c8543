"""Wires the parts together: plan a grid, embed what it reads, run what is left of it, report.

Everything the command line does can be done from Python with these functions.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labelbench_ray.benchmark.state import Ledger, TrialStatus, write_json
from labelbench_ray.config import EvaluationTrial, Experiment, Trial
from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.evaluations import evaluation_trials
from labelbench_ray.execution.executor import Executor
from labelbench_ray.execution.inputs import embed_tasks, on_undecodable
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.preflight import Unit, check_schedulable, unit_of
from labelbench_ray.execution.progress import Event, Terminal
from labelbench_ray.features.embedding import EmbedTask, finish
from labelbench_ray.reporting.write import ReportFiles, summary_lines, write_report
from labelbench_ray.tracking.connection import default_uri
from labelbench_ray.tracking.mlflow import MlflowTracker
from labelbench_ray.tracking.tracker import BackgroundTracker, NoTracker, Tracker
from labelbench_ray.tracking.view import varying_labels

ExecutorName = Literal["ray", "in_process"]

DEFAULT_FEATURES = Path("features")
SYNC_EVERY_S = 10.0
"""A running trial is shown in MLflow at most this often: each look costs about a tenth of a second of a processor."""


def default_results(experiment: Experiment) -> Path:
    """``results/<name>`` in the current folder."""
    return Path("results") / experiment.name


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial of the grid and what the ledger has of it."""

    trial: Trial
    status: TrialStatus

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return self.status.state == "done"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do."""

    experiment: Experiment
    results: Path
    features: Path
    trials: list[PlannedTrial]
    embed_tasks: list[EmbedTask]
    """Views that are not stored yet."""
    units: list[tuple[Unit, int]]
    """What one trial occupies, and how many trials are of that kind."""
    warnings: list[str]

    @property
    def num_done(self) -> int:
        """Trials with nothing left to do."""
        return sum(planned.done for planned in self.trials)


def plan(experiment: Experiment, results: Path | None = None, features: Path = DEFAULT_FEATURES) -> Plan:
    """Expand the grid, look up what is done, and check the data sets. Starts nothing and writes nothing."""
    results = results or default_results(experiment)
    ledger, trials = Ledger(results), experiment.trials()
    planned = [PlannedTrial(trial=trial, status=ledger.trial(trial.id).status()) for trial in trials]
    left = [one.trial for one in planned if not one.done]
    tasks = embed_tasks(left, features, experiment.resources.kind, experiment.evaluate)
    units: list[tuple[Unit, int]] = []
    counted = [unit_of(trial, experiment.selection, experiment.resources) for trial in trials]
    for index, unit in enumerate(counted):
        if unit not in counted[:index]:
            units.append((unit, counted.count(unit)))
    return Plan(
        experiment=experiment,
        results=results,
        features=features,
        trials=planned,
        embed_tasks=tasks,
        units=units,
        warnings=_budget_warnings(trials),
    )


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    results: Path
    num_trials: int
    num_ran: int
    num_skipped: int
    failed: list[tuple[str, str]]
    """(trial's name, reason)"""
    interrupted: bool
    report: ReportFiles | None


def run(
    experiment: Experiment,
    results: Path | None = None,
    features: Path = DEFAULT_FEATURES,
    *,
    executor: ExecutorName = "ray",
    address: str | None = None,
    num_cpus: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> RunOutcome:
    """Do what is left of a grid, then write its report.

    ``executor`` is ``ray`` (a local cluster, or the one at ``address``) or ``in_process``. Failed trials do not stop
    the others. Ctrl-C keeps what is written; running again goes on. Raises UnschedulableError before anything starts.
    """
    results = results or default_results(experiment)
    ledger = Ledger(results)
    ledger.check_writable()
    prepared = plan(experiment, results, features)
    for warning in prepared.warnings:
        tell(f"warning: {warning}")
    write_json(results / "experiment.json", {"name": experiment.name, "trials": [p.trial.id for p in prepared.trials]})
    grid = _Grid(experiment, results, features, ledger, _tracker(experiment, results, tell), tell)
    trials = [planned.trial for planned in prepared.trials]
    left = [planned.trial for planned in prepared.trials if not planned.done]
    interrupted = False
    grid.tracker.open()
    try:
        if left or grid.evaluations_left(trials):
            with _executor(experiment, executor, address, num_cpus) as chosen:
                _refuse_unschedulable(prepared, chosen)
                _embed(chosen, prepared.embed_tasks, tell)
                grid.run("select", left, chosen)
                grid.run("evaluate", grid.evaluations_left(trials), chosen)
        else:
            tell(f"nothing to do: all {len(trials)} trials are done in {results}")
    except KeyboardInterrupt:
        interrupted = True
        _mark_interrupted(ledger, tell)
    report = _report_if_any(results, tell)
    failed = grid.failures([*trials, *grid.evaluations(trials)])
    _attach_report(grid.tracker, results, report)
    grid.tracker.close("interrupted" if interrupted else "failed" if failed else "done")
    return RunOutcome(
        results=results,
        num_trials=len(trials),
        num_ran=grid.num_ran,
        num_skipped=len(trials) - len(left),
        failed=failed,
        interrupted=interrupted,
        report=report,
    )


def embed(
    experiment: Experiment,
    features: Path = DEFAULT_FEATURES,
    *,
    executor: ExecutorName = "ray",
    address: str | None = None,
    num_cpus: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[EmbedTask]:
    """Embed every view that the grid reads and the feature store lacks; returns what was embedded."""
    tasks = plan(experiment, features=features).embed_tasks
    if tasks:
        with _executor(experiment, executor, address, num_cpus) as chosen:
            _embed(chosen, tasks, tell)
    return tasks


def report(results: Path, out: Path | None = None) -> ReportFiles:
    """Write the report of a results folder. Raises LedgerError when no round is finished."""
    return write_report(results, out)


def sync(experiment: Experiment, results: Path | None = None) -> int:
    """Bring MLflow up to date with the ledger; returns the number of trials looked at. Raises TrackingError."""
    results = results or default_results(experiment)
    tracker = _plain_tracker(experiment, results)
    trials = Ledger(results).trials()
    failed = any(trial.status().state == "failed" for trial in trials)
    tracker.open()
    for trial in trials:
        tracker.sync_trial(trial)
    _attach_report(tracker, results, _report_if_any(results, lambda _: None))
    tracker.close("failed" if failed else "done")
    return len(trials)


@dataclass
class _Grid:
    """One run of a grid: what all its stages share."""

    experiment: Experiment
    results: Path
    features: Path
    ledger: Ledger
    tracker: Tracker
    tell: Callable[[str], None]
    num_ran: int = 0
    _synced: dict[str, float] = field(default_factory=dict)

    def run(self, title: str, trials: Sequence[Trial | EvaluationTrial], executor: Executor) -> None:
        if not trials:
            return
        jobs = [self._job(trial) for trial in trials]
        finished = sum(self.ledger.trial(trial.id).finished_rounds() for trial in trials)
        rounds = sum(job.num_rounds for job in jobs) - finished
        with Terminal(title, trials=len(jobs), rounds=rounds) as terminal:

            def watch(event: Event) -> None:
                terminal(event)
                now, before = time.monotonic(), self._synced.get(event.trial, float("-inf"))
                if event.what != "round" or now - before > SYNC_EVERY_S:
                    self._synced[event.trial] = now
                    self.tracker.sync_trial(self.ledger.trial(event.trial))

            executor.run(jobs, watch)
        self.num_ran += len(jobs)

    def evaluations(self, trials: Sequence[Trial]) -> list[EvaluationTrial]:
        return evaluation_trials(self.experiment, trials, self.ledger)

    def evaluations_left(self, trials: Sequence[Trial]) -> list[EvaluationTrial]:
        return [one for one in self.evaluations(trials) if self.ledger.trial(one.id).status().state != "done"]

    def failures(self, trials: Sequence[Trial | EvaluationTrial]) -> list[tuple[str, str]]:
        found = []
        for trial in trials:
            status = self.ledger.trial(trial.id).status()
            if status.state == "failed":
                found.append((self._job(trial).name, status.error))
        return found

    def _job(self, trial: Trial | EvaluationTrial) -> TrialJob:
        return TrialJob(
            trial=trial,
            experiment=self.experiment.name,
            results=self.results.resolve(),
            features=self.features.resolve(),
            selection=self.experiment.selection,
            resources=self.experiment.resources,
        )


@contextlib.contextmanager
def _executor(
    experiment: Experiment, name: ExecutorName, address: str | None, num_cpus: int | None
) -> Iterator[Executor]:
    if name == "in_process":
        from labelbench_ray.execution.in_process import InProcess

        yield InProcess()
        return
    from labelbench_ray.execution.on_ray.executor import on_ray

    with on_ray(address, num_cpus, experiment.resources.embed_actors) as executor:
        yield executor


def _refuse_unschedulable(prepared: Plan, executor: Executor) -> None:
    nodes = executor.nodes()
    for unit, _ in prepared.units:
        check_schedulable(unit, nodes)


def _embed(executor: Executor, tasks: Sequence[EmbedTask], tell: Callable[[str], None]) -> None:
    if not tasks:
        return
    views = sum(len(task.keys) for task in tasks)
    tell(f"embed: {views} views, {sum(len(task.keys) * task.num_rows for task in tasks)} rows")
    executor.embed(tasks)
    for task in tasks:
        finish(task, on_undecodable(task.keys[0].dataset))


def _budget_warnings(trials: Sequence[Trial]) -> list[str]:
    told = []
    for dataset, schedule in {(t.dataset, t.schedule): None for t in trials}:
        rows = len(dataset.open().labels("train"))
        last = schedule.budgets()[-1]
        if last > rows:
            told.append(
                f"{dataset.name} has {rows} rows, the schedule buys up to {last}: the last round will be smaller"
            )
    return told


def _plain_tracker(experiment: Experiment, results: Path) -> Tracker:
    address = experiment.tracking.mlflow
    if address == "off":
        return NoTracker()
    varies = varying_labels([{"labels": trial.labels()} for trial in experiment.trials()])
    return MlflowTracker(default_uri(results) if address == "auto" else address, experiment.name, varies=varies)


def _tracker(experiment: Experiment, results: Path, tell: Callable[[str], None]) -> Tracker:
    tracker = _plain_tracker(experiment, results)
    return tracker if isinstance(tracker, NoTracker) else BackgroundTracker(tracker, tell)


def _attach_report(tracker: Tracker, results: Path, report: ReportFiles | None) -> None:
    if report is None:
        return
    table = "\n".join(summary_lines(results))
    tracker.attach([report.html, report.csv, report.final_csv], f"```\n{table}\n```")


def _report_if_any(results: Path, tell: Callable[[str], None]) -> ReportFiles | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return write_report(results)
    except LabelBenchError as error:
        tell(f"no report: {error}")
        return None


def _mark_interrupted(ledger: Ledger, tell: Callable[[str], None]) -> None:
    for trial in ledger.trials():
        if trial.status().state == "running":
            trial.mark("interrupted")
    tell("interrupted: finished rounds are kept; run the same command again to go on")
