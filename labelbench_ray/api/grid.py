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

from labelbench_ray.api.planning import DEFAULT_FEATURES, Plan, all_views, default_results, plan
from labelbench_ray.benchmark.state import Ledger, write_json
from labelbench_ray.config import EvaluationTrial, Experiment, Trial
from labelbench_ray.errors import LedgerError
from labelbench_ray.execution.evaluations import evaluation_trials
from labelbench_ray.execution.executor import Executor
from labelbench_ray.execution.inputs import on_undecodable
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.preflight import check_schedulable
from labelbench_ray.execution.progress import Event, Terminal
from labelbench_ray.features.embedding import EmbedTask, finish
from labelbench_ray.features.stages import stages_in_words
from labelbench_ray.reporting.write import ReportFiles, summary_lines, write_report
from labelbench_ray.tracking.connection import default_uri
from labelbench_ray.tracking.mlflow import MlflowTracker
from labelbench_ray.tracking.tracker import BackgroundTracker, NoTracker, Tracker
from labelbench_ray.tracking.view import varying_labels

ExecutorName = Literal["ray", "in_process"]

SYNC_EVERY_S = 10.0
"""A running trial is shown in MLflow at most this often: each look costs about a tenth of a second of a processor."""


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
    prepared = plan(experiment, results, features)
    ledger = Ledger(prepared.results)
    ledger.check_writable()
    for warning in prepared.warnings:
        tell(f"warning: {warning}")
    trials = [planned.trial for planned in prepared.trials]
    write_json(ledger.root / "experiment.json", {"name": experiment.name, "trials": [trial.id for trial in trials]})
    if prepared.nothing_to_do:
        tell(f"nothing to do: all {len(trials)} trials are done in {prepared.results}")
        return _outcome(prepared, 0, [], interrupted=False, report=_report_if_any(ledger))
    grid = _Grid(experiment, prepared.results, features, ledger, _tracker(experiment, prepared.results, tell))
    interrupted = False
    try:
        with executor_for(experiment, executor, address, num_cpus) as chosen:
            for _, unit, _ in prepared.units:
                check_schedulable(unit, chosen.nodes())
            grid.tracker.open()
            embed_views(chosen, prepared.embed_tasks, tell)
            grid.run("select", prepared.left, chosen)
            grid.run("evaluate", grid.evaluations_left(trials), chosen)
    except KeyboardInterrupt:
        interrupted = True
        tell("interrupted: finished rounds are kept; run the same command again to go on")
    except BaseException:
        grid.tracker.close("failed")
        raise
    failed = [] if interrupted else grid.failures([*trials, *evaluation_trials(experiment, trials, ledger)])
    report = _report_if_any(ledger)
    _attach_report(grid.tracker, prepared.results, report)
    grid.tracker.close("interrupted" if interrupted else "failed" if failed else "done")
    return _outcome(prepared, grid.num_ran, failed, interrupted=interrupted, report=report)


def _outcome(
    prepared: Plan, num_ran: int, failed: list[tuple[str, str]], *, interrupted: bool, report: ReportFiles | None
) -> RunOutcome:
    return RunOutcome(
        results=prepared.results,
        num_trials=len(prepared.trials),
        num_ran=num_ran,
        num_skipped=prepared.num_done,
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
    tasks = all_views(experiment, features)
    if tasks:
        with executor_for(experiment, executor, address, num_cpus) as chosen:
            embed_views(chosen, tasks, tell)
    return tasks


def report(results: Path, out: Path | None = None) -> ReportFiles:
    """Write the report of a results folder. Raises LedgerError when no round is finished."""
    return write_report(results, out)


def sync(experiment: Experiment, results: Path | None = None) -> int:
    """Bring MLflow up to date with the ledger; returns the number of trials looked at. Raises TrackingError."""
    results = results or default_results(experiment)
    ledger = Ledger(results)
    trials = ledger.trials()
    if not trials:
        raise LedgerError(str(results), "no trials here", "give the folder that `labelbench run` wrote with --results")
    tracker = _plain_tracker(experiment, results)
    failed = any(trial.status().state == "failed" for trial in trials)
    tracker.open()
    for trial in trials:
        tracker.sync_trial(trial)
    _attach_report(tracker, results, _report_if_any(ledger))
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
    num_ran: int = 0
    _synced: dict[str, float] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)
    """What was told of trials that failed; the ledger cannot say it of one whose process died."""

    def run(self, title: str, trials: Sequence[Trial | EvaluationTrial], executor: Executor) -> None:
        if not trials:
            return
        jobs = [self._job(trial) for trial in trials]
        finished = sum(self.ledger.trial(trial.id).finished_rounds() for trial in trials)
        rounds = sum(job.num_rounds for job in jobs) - finished
        with Terminal(title, trials=len(jobs), rounds=rounds) as terminal:

            def watch(event: Event) -> None:
                terminal(event)
                if event.what == "failed":
                    self._problems[event.trial] = event.error
                now, before = time.monotonic(), self._synced.get(event.trial, float("-inf"))
                if event.what != "round" or now - before > SYNC_EVERY_S:
                    self._synced[event.trial] = now
                    self.tracker.sync_trial(self.ledger.trial(event.trial))

            executor.run(jobs, watch)
        self.num_ran += len(jobs)

    def evaluations_left(self, trials: Sequence[Trial]) -> list[EvaluationTrial]:
        found = evaluation_trials(self.experiment, trials, self.ledger)
        return [one for one in found if self.ledger.trial(one.id).status().state != "done"]

    def failures(self, trials: Sequence[Trial | EvaluationTrial]) -> list[tuple[str, str]]:
        """Every trial that is not done after all have ended, and why."""
        found = []
        for trial in trials:
            status = self.ledger.trial(trial.id).status()
            if status.state != "done":
                reason = self._problems.get(trial.id) or status.error or "it did not end; see `labelbench status`"
                found.append((self._job(trial).name, reason))
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
def executor_for(
    experiment: Experiment, name: ExecutorName, address: str | None, num_cpus: int | None
) -> Iterator[Executor]:
    """An executor by its name, for the length of a block."""
    if name == "in_process":
        from labelbench_ray.execution.in_process import InProcess

        yield InProcess()
        return
    from labelbench_ray.execution.on_ray.executor import on_ray

    with on_ray(address, num_cpus, experiment.resources.embed_actors, experiment.cluster) as executor:
        yield executor


def embed_views(executor: Executor, tasks: Sequence[EmbedTask], tell: Callable[[str], None]) -> None:
    """Embed what is missing. Raises FeatureStoreError, DataError or WeightsError."""
    if not tasks:
        return
    views = sum(len(task.keys) for task in tasks)
    tell(f"embed: {views} views, {sum(len(task.keys) * task.num_rows for task in tasks)} rows")
    executor.embed(tasks)
    for task in tasks:
        for key, rows in zip(task.keys, finish(task, on_undecodable(task.keys[0].dataset)), strict=True):
            told = stages_in_words(task.num_rows, rows.seconds)
            tell(f"embedded {key.dataset.name} {key.split} {key.view.label}: {told}")


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


def _report_if_any(ledger: Ledger) -> ReportFiles | None:
    """The report, once there is a finished round. Raises LedgerError for rounds that cannot be read."""
    if not any(trial.finished_rounds() for trial in ledger.trials()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_report(ledger.root)
