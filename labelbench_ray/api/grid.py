"""Wires the parts together: plan a grid, embed what it reads, run what is left of it, report.

Everything the command line does can be done from Python with these functions.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelbench_ray.api.executors import ExecutorName, embed_views, executor_for
from labelbench_ray.api.planning import DEFAULT_FEATURES, Plan, all_views, default_results, plan
from labelbench_ray.api.status import describe_grid
from labelbench_ray.api.stopping import stops_after_the_round
from labelbench_ray.benchmark.finding import GRID_FILE, check_results
from labelbench_ray.benchmark.labelbench_files import import_files
from labelbench_ray.benchmark.run_folder import RunFolder, new_run
from labelbench_ray.benchmark.state import Ledger, State
from labelbench_ray.benchmark.writing import write_json
from labelbench_ray.config import EvaluationTrial, Experiment, Trial
from labelbench_ray.errors import LedgerError, SpecError
from labelbench_ray.execution.driving import run_all
from labelbench_ray.execution.evaluations import evaluation_trials
from labelbench_ray.execution.executor import Executor
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.preflight import check_schedulable
from labelbench_ray.execution.progress import Event
from labelbench_ray.execution.watchers import Watchers
from labelbench_ray.features.embedding import EmbedTask
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.export import is_export, read_export, write_export
from labelbench_ray.reporting.published import Beside, beside_published
from labelbench_ray.reporting.write import ReportFiles, current_report, write_report
from labelbench_ray.storage.place import Place, Where, place_at
from labelbench_ray.tracking.background import BackgroundTracker
from labelbench_ray.tracking.connection import default_uri
from labelbench_ray.tracking.mlflow import MlflowTracker
from labelbench_ray.tracking.tracker import NoTracker, Tracker
from labelbench_ray.tracking.view import varying_labels


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    results: Place
    num_trials: int
    num_ran: int
    num_skipped: int
    failed: list[tuple[str, str]]
    """(trial's name, reason)"""
    interrupted: bool
    report: ReportFiles | None
    no_report: str = ""
    """Why the report could not be written, where it could not."""


def run(
    experiment: Experiment,
    results: Where | None = None,
    features: Where = DEFAULT_FEATURES,
    *,
    executor: ExecutorName = "ray",
    address: str | None = None,
    num_cpus: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> RunOutcome:
    """Do what is left of a grid, then write its report.

    ``executor`` is ``ray`` (a local cluster, or the one at ``address``) or ``in_process``. Failed trials do not stop
    the others. A first Ctrl-C or SIGTERM lets running trials finish their round, a second one stops at once; running
    again goes on. Raises UnschedulableError before anything starts.
    """
    prepared = plan(experiment, results, features)
    ledger = Ledger(prepared.results)
    ledger.check_writable()
    this_run = new_run(prepared.results.absolute())
    watchers = Watchers(this_run.place, tell)
    trials = [planned.trial for planned in prepared.trials]
    write_json(prepared.results, GRID_FILE, describe_grid(experiment.name, trials))
    if prepared.nothing_to_do:
        tell(f"nothing to do: all {len(trials)} trials are done in {prepared.results.where}")
        there = current_report(prepared.results) or _report_if_any(ledger)
        return _outcome(prepared, 0, [], interrupted=False, report=there)
    for warning in prepared.warnings:
        watchers.tell(f"warning: {warning}")
    watchers.began(experiment.name, len(trials), prepared.num_done)
    tracker = _tracker(experiment, prepared.results, watchers.tell)
    grid = _Grid(experiment, prepared.results, prepared.features, ledger, tracker, watchers, this_run)
    interrupted, stops = False, stops_after_the_round(this_run, experiment.limits.stop_within_s, watchers.tell)
    try:
        with this_run.driven(), executor_for(experiment, executor, address, num_cpus) as chosen, stops as stopping:
            for _, unit, _ in prepared.units:
                check_schedulable(unit, chosen.nodes())
            grid.tracker.open()
            watchers.emitter = chosen.metrics(experiment.name)
            watchers.found_done(prepared.num_done, prepared.num_views_stored)
            embed_views(chosen, prepared.embed_tasks, watchers.tell, watchers.embedding(prepared.embed_tasks))
            stopping.rounds_may_end = True
            grid.run_stage("select", prepared.left, chosen)
            grid.run_stage("evaluate", grid.evaluations_left(trials), chosen)
        interrupted = this_run.asked_to_stop
    except KeyboardInterrupt:
        interrupted = True
    except BaseException as error:
        watchers.ended("failed", str(error))
        grid.tracker.close("failed")
        raise
    if interrupted:
        watchers.tell("interrupted: finished rounds are kept; run the same command again to go on")
    failed = [] if interrupted else grid.failures([*trials, *evaluation_trials(experiment, trials, ledger.now())])
    report, no_report = None, ""
    try:
        report = _report_if_any(ledger)
    except LedgerError as error:  # what failed is to be told all the same
        no_report = str(error)
    _attach_report(grid.tracker, report)
    state: State = "interrupted" if interrupted else "failed" if failed else "done"
    watchers.ended(state)
    grid.tracker.close(state)
    return _outcome(prepared, grid.num_ran, failed, interrupted=interrupted, report=report, no_report=no_report)


def _outcome(
    prepared: Plan,
    num_ran: int,
    failed: list[tuple[str, str]],
    *,
    interrupted: bool,
    report: ReportFiles | None,
    no_report: str = "",
) -> RunOutcome:
    return RunOutcome(
        results=prepared.results,
        num_trials=len(prepared.trials),
        num_ran=num_ran,
        num_skipped=prepared.num_done,
        failed=failed,
        interrupted=interrupted,
        report=report,
        no_report=no_report,
    )


def embed(
    experiment: Experiment,
    features: Where = DEFAULT_FEATURES,
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


def report(results: Where, out: Path | None = None, *, paper: bool = False) -> ReportFiles:
    """Write the report of a results folder, or of an exported file; see ``write_report``."""
    return write_report(results, out, paper=paper)


def export(results: Where, file: Path, measures: Sequence[str] = ()) -> int:
    """Write the rows of a results folder to one file, and return how many; see ``write_export``."""
    return write_export(results, file, measures)


def compare_with_paper(results: Where, table: str) -> Beside:
    """Numbers of a results folder, or of an exported file, beside a table of LabelBench's paper."""
    return beside_published(read_export(Path(str(results))) if is_export(results) else read_evidence(results), table)


def import_labelbench(folder: Path, results: Where) -> int:
    """Write the result files of LabelBench's own code into a results folder; see ``import_files``."""
    return import_files(folder, results)


def sync(experiment: Experiment, results: Where | None = None) -> int:
    """Bring MLflow up to date with the ledger; returns the number of trials looked at.

    Raises TrackingError, SpecError where tracking is off, or NoResultsError for a folder that no run wrote.
    """
    if experiment.tracking.mlflow == "off":
        told = "is off, so there is nothing to bring up to date; say where with --set tracking.mlflow=ADDRESS, or auto"
        raise SpecError("tracking.mlflow", told)
    place = place_at(results or default_results(experiment))
    check_results(place)
    ledger = Ledger(place).with_rows()
    trials = ledger.trials()
    tracker = _plain_tracker(experiment, place)
    states = {trial.status().state for trial in trials}
    order: tuple[State, ...] = ("running", "failed", "interrupted")
    tracker.open()
    for trial in trials:
        tracker.sync_trial(trial)
    _attach_report(tracker, _report_if_any(Ledger(place)))
    tracker.close(next((state for state in order if state in states), "done"))
    return len(trials)


@dataclass
class _Grid:
    """One run of a grid: what all its stages share."""

    experiment: Experiment
    results: Place
    features: Place
    ledger: Ledger
    tracker: Tracker
    watchers: Watchers
    folder: RunFolder
    num_ran: int = 0
    _problems: dict[str, str] = field(default_factory=dict)
    """What was told of trials that failed; the ledger cannot say it of one whose process died."""

    def run_stage(self, title: str, trials: Sequence[Trial | EvaluationTrial], executor: Executor) -> None:
        if not trials:
            return
        jobs = [self._job(trial) for trial in trials]
        now = self.ledger.now()
        finished = [now.trial(trial.id).finished_rounds() for trial in trials]
        with self.watchers.stage(title, jobs, finished) as show:

            def watch(event: Event) -> None:
                show(event)
                if event.what == "failed":
                    self._problems[event.trial] = event.error
                    self._stop_at_too_many_failures()
                self.tracker.sync_trial(self.ledger.trial(event.trial))

            run_all(jobs, executor, watch, self.watchers.tell)
        self.num_ran += len(jobs)

    def _stop_at_too_many_failures(self) -> None:
        most, failed = self.experiment.limits.max_failed_trials, len(self._problems)
        if most is not None and failed > most and self.folder.may_start_trials:
            told = f"{failed} trials failed and `limits.max_failed_trials` is {most}"
            self.folder.start_no_more(told)
            self.watchers.tell(f"{told}: running trials are finished, no new one is started")

    def evaluations_left(self, trials: Sequence[Trial]) -> list[EvaluationTrial]:
        now = self.ledger.now()
        found = evaluation_trials(self.experiment, trials, now)
        return [one for one in found if now.trial(one.id).status().state != "done"]

    def failures(self, trials: Sequence[Trial | EvaluationTrial]) -> list[tuple[str, str]]:
        """Every trial that is not done after all have ended, and why; only what failed, where no more were begun."""
        found, all_were_begun, now = [], self.folder.may_start_trials, self.ledger.now()
        for trial in trials:
            status = now.trial(trial.id).status()
            if status.state != "done" and (all_were_begun or trial.id in self._problems):
                reason = self._problems.get(trial.id) or status.error or "it did not end; see `labelbench status`"
                found.append((self._job(trial).name, reason))
        return found

    def _job(self, trial: Trial | EvaluationTrial) -> TrialJob:
        return TrialJob(
            trial=trial,
            experiment=self.experiment.name,
            results=self.results.absolute(),
            features=self.features.absolute(),
            selection=self.experiment.selection,
            resources=self.experiment.resources,
            limits=self.experiment.limits,
            run=self.folder,
        )


def _plain_tracker(experiment: Experiment, results: Place) -> Tracker:
    address = experiment.tracking.mlflow
    if address == "off":
        return NoTracker()
    varies = varying_labels([{"labels": trial.labels()} for trial in experiment.trials()])
    return MlflowTracker(
        default_uri(results) if address == "auto" else address,
        experiment.name,
        Ledger(results),
        varies=varies,
        register_models=experiment.tracking.register_models,
    )


def _tracker(experiment: Experiment, results: Place, tell: Callable[[str], None]) -> Tracker:
    tracker = _plain_tracker(experiment, results)
    if isinstance(tracker, NoTracker):
        return tracker
    return BackgroundTracker(tracker, lambda message: tell(f"warning: {message}"))


def _attach_report(tracker: Tracker, report: ReportFiles | None) -> None:
    if report is None:
        return
    tracker.attach([report.html, report.csv, report.final_csv], f"```\n{report.text.read_text(encoding='utf-8')}```")


def _report_if_any(ledger: Ledger) -> ReportFiles | None:
    """The report, once there is a finished round. Raises LedgerError for rounds that cannot be read."""
    if not any(trial.finished_rounds() for trial in ledger.now().trials()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_report(ledger.place)
