"""Trials through Ray Tune. Tune only schedules: the ledger decides what is left, and holds every result.

A trial process that dies is started again by Tune and goes on from the ledger; an error of the trial itself is in the
ledger and is not tried again. Trials of one layout (see preflight.py) run together, layouts one after another.
"""

import contextlib
import logging
import pickle
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner

from labelbench_ray.benchmark.loop import MakeSpread
from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.job import TrialJob, round_event, run_job
from labelbench_ray.execution.on_ray.selection import actor_spread
from labelbench_ray.execution.on_ray.training import launch_on_ray
from labelbench_ray.execution.preflight import Node, Unit, check_schedulable, concurrency, unit_of
from labelbench_ray.execution.progress import Event, Watch
from labelbench_ray.shards import spread_locally
from labelbench_ray.types import Launch

COORDINATOR = {"node:__internal_head__": 0.01}
"""What a trial that launches workers holds: no CPU, so that its workers can never wait for it."""

PROCESS_RESTARTS = 3

EVENT = "labelbench_event"


def run_jobs(jobs: Sequence[TrialJob], watch: Watch, nodes: Sequence[Node]) -> None:
    """Run every job; returns when all have ended. Raises UnschedulableError before anything starts."""
    units = [unit_of(job.trial.trainer, job.trial.kind, job.selection, job.resources) for job in jobs]
    groups = [unit for index, unit in enumerate(units) if unit not in units[:index]]
    for unit in groups:
        check_schedulable(unit, nodes)
    for group in groups:
        _run_group(group, [job for job, unit in zip(jobs, units, strict=True) if unit == group], watch, nodes)


def _run_group(unit: Unit, jobs: Sequence[TrialJob], watch: Watch, nodes: Sequence[Node]) -> None:
    most = concurrency(unit, nodes, jobs[0].resources.max_concurrent)
    bundles: list[dict[str, float]] = [COORDINATOR] if unit.layout == "coordinated" else [dict(b) for b in unit.bundles]
    packed = [pickle.dumps(job) for job in jobs]
    with tempfile.TemporaryDirectory(prefix="labelbench-tune-") as storage, quiet_tune():
        Tuner(
            tune.with_resources(_run_trial, PlacementGroupFactory(bundles)),
            param_space={"job": tune.grid_search(packed)},
            tune_config=TuneConfig(reuse_actors=True, max_concurrent_trials=most),
            run_config=RunConfig(
                name="trials",
                storage_path=storage,
                callbacks=[_Watcher(watch)],
                failure_config=FailureConfig(max_failures=PROCESS_RESTARTS),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


@contextlib.contextmanager
def quiet_tune() -> Iterator[None]:
    """Neither Tune's warnings about options set on purpose, nor whole tracebacks of what the watch tells in a line."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _run_trial(config: dict[str, Any]) -> None:
    """The body of a Tune trial."""
    job: TrialJob = pickle.loads(config["job"])
    unit = unit_of(job.trial.trainer, job.trial.kind, job.selection, job.resources)
    make_spread: MakeSpread = spread_locally
    if job.selection.through == "actors":
        reserved = unit.layout == "sharded"
        actor = job.resources.share_of("select").bundle
        make_spread = actor_spread(job.selection.num_actors, actor, in_placement_group=reserved)
    try:
        for done in run_job(job, _launcher(job), make_spread):
            _tell(round_event(job, done))
    except Exception as error:
        # Written to the ledger by run_job. Raising would make Tune try again what would fail again.
        told = str(error) if isinstance(error, LabelBenchError) else f"{type(error).__name__}: {error}"
        _tell(Event(trial=job.trial.id, name=job.name, what="failed", error=told))
    else:
        _tell(Event(trial=job.trial.id, name=job.name, what="done"))


def _tell(event: Event) -> None:
    """To the driver, through Tune, whose results are flat and whose names are taken: hence one key of ours."""
    tune.report({EVENT: pickle.dumps(event)})


def _launcher(job: TrialJob) -> Launch:
    return partial(launch_on_ray, worker=job.resources.share_of("train").bundle)


class _Watcher(Callback):  # type: ignore[misc]  # ray is not typed
    """Passes what trials report, and that a process died, to the driver's watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __reduce__(self) -> tuple[Any, ...]:
        return Callback, ()  # Tune pickles callbacks into a snapshot that is never read; a terminal cannot be pickled

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if EVENT in result:
            self._watch(pickle.loads(result[EVENT]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        job: TrialJob = pickle.loads(trial.config["job"])
        error = f"its process died {PROCESS_RESTARTS + 1} times"
        self._watch(Event(trial=job.trial.id, name=job.name, what="failed", error=error))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        job: TrialJob = pickle.loads(trial.config["job"])
        self._watch(Event(trial=job.trial.id, name=job.name, what="retry", error="its process died; started again"))
