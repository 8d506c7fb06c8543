"""Trials through Ray Tune. Tune only schedules: the ledger decides what is left, and holds every result.

What Tune calls a trial is a slot (slots.py): as many run at a time as the nodes can hold, and each runs one trial of
the grid after another. A slot whose process died is started again, elsewhere if its node is gone; what it was running
is noted in the ledger, and tried again or not as `limits` say. Trials of one layout (see preflight.py) run together,
layouts one after another.
"""

import contextlib
import logging
import pickle
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.stopper import Stopper

from labelbench_ray.errors import LedgerError
from labelbench_ray.execution.attempt import ToldToLeave, note_lost_process, run_job
from labelbench_ray.execution.endings import Ending
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.on_ray.draining import Draining, this_node
from labelbench_ray.execution.on_ray.selection import ActorSpread
from labelbench_ray.execution.on_ray.training import launch_on_ray
from labelbench_ray.execution.preflight import Node, Unit, check_schedulable, concurrency, unit_of
from labelbench_ray.execution.progress import Event, Watch
from labelbench_ray.execution.slots import LOOK_AGAIN_S, Stock, work
from labelbench_ray.shards import spread_locally
from labelbench_ray.types import Launch

COORDINATOR = {"node:__internal_head__": 0.01}
"""What a trial that launches workers holds: no CPU, so that its workers can never wait for it."""

PROCESS_RESTARTS = 3
"""How often a process is started again of which nothing was heard. (Of one that ran a trial, `limits` decide.)"""

EVENTS, NODE = "labelbench_events", "labelbench_node"
"""What a slot reports: what happened, and the id of its node."""


def run_jobs(jobs: Sequence[TrialJob], watch: Watch, nodes: Sequence[Node]) -> None:
    """Run jobs until none is free. Raises UnschedulableError before anything starts."""
    units = [unit_of(job.trial.trainer, job.trial.kind, job.selection, job.resources) for job in jobs]
    groups = [unit for index, unit in enumerate(units) if unit not in units[:index]]
    for unit in groups:
        check_schedulable(unit, nodes)
    for group in groups:
        _run_group(group, [job for job, unit in zip(jobs, units, strict=True) if unit == group], watch, nodes)


def _run_group(unit: Unit, jobs: Sequence[TrialJob], watch: Watch, nodes: Sequence[Node]) -> None:
    slots = min(len(jobs), concurrency(unit, nodes, jobs[0].resources.max_concurrent))
    bundles: list[dict[str, float]] = [COORDINATOR] if unit.layout == "coordinated" else [dict(b) for b in unit.bundles]
    stock = Stock.of(jobs, lambda job: partial(pickle.loads, pickle.dumps(job)))
    nothing_left = _NothingLeft(stock)
    with tempfile.TemporaryDirectory(prefix="labelbench-tune-") as storage, quiet_tune():
        Tuner(
            tune.with_resources(tune.with_parameters(Slot, stock=stock), PlacementGroupFactory(bundles)),
            param_space={"slot": tune.grid_search(list(range(slots)))},
            tune_config=TuneConfig(reuse_actors=True, max_concurrent_trials=slots, scheduler=_Forgetful()),
            run_config=RunConfig(
                name="slots",
                storage_path=storage,
                callbacks=[_Watcher(watch, stock), nothing_left],
                stop=nothing_left,
                failure_config=FailureConfig(max_failures=-1),
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),  # else it waits for ever: slots have none
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


class Slot(tune.Trainable):  # type: ignore[misc]  # ray is not typed
    """The process of a slot. Each step runs until there is something to tell."""

    def setup(self, config: dict[str, Any], stock: Stock) -> None:
        """Called once for a process, on its main thread, which alone may handle signals."""
        self._stock = stock
        self._told_to_leave = threading.Event()
        self._draining = Draining()
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, lambda *_: self._told_to_leave.set())
        self._begin()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another slot in the same process."""
        self._begin()
        return True

    def step(self) -> dict[str, Any]:
        """The next events. Raises _NodeLeavesError once they are told, so that Tune starts the slot elsewhere."""
        told: list[Event] = []
        for event in self._events:
            told.append(event)
            if event.what == "started" or (event.what == "round" and not event.is_last):
                # Something long comes; after other events the next is near.
                return {EVENTS: pickle.dumps(told), NODE: this_node()}
        goes_on_elsewhere = self._told_to_leave.is_set() and self._stock.has_more
        if goes_on_elsewhere and not told:
            raise _NodeLeavesError
        return {EVENTS: pickle.dumps(told), "done": not goes_on_elsewhere, NODE: this_node()}

    def _begin(self) -> None:
        self._events = work(self._stock, _run_trial_of(self._must_leave), self._must_leave)

    def _must_leave(self) -> bool:
        """Whether a signal said so, or Ray says so of a node of this trial; once true, true for good."""
        if not self._told_to_leave.is_set() and self._draining.reaches_this_trial():
            self._told_to_leave.set()
        return self._told_to_leave.is_set()


class _NodeLeavesError(Exception):
    """This process was told to end."""


def _run_trial_of(told_to_leave: ToldToLeave) -> Callable[[TrialJob], Iterator[Event]]:
    def run_trial(job: TrialJob) -> Iterator[Event]:
        launch = partial(launch_on_ray, worker=job.resources.share_of("train").bundle)
        if job.selection.through != "actors":
            yield from run_job(job, launch, spread_locally, told_to_leave)
            return
        with _actors_of(job) as actors:
            yield from run_job(job, partial(_launch_without, actors, launch), actors, told_to_leave)

    return run_trial


def _actors_of(job: TrialJob) -> ActorSpread:
    unit = unit_of(job.trial.trainer, job.trial.kind, job.selection, job.resources)
    actor = job.resources.share_of("select").bundle
    return ActorSpread(job.selection.num_actors, actor, in_placement_group=unit.layout == "sharded")


def _launch_without(
    actors: ActorSpread, launch: Launch, *arguments: Any, through: Literal["inline", "ray_train"], **options: Any
) -> None:
    """Launch once the actors of the last selection have made room."""
    if through == "ray_train":
        actors.release()
    launch(*arguments, through=through, **options)


class _Forgetful(FIFOScheduler):  # type: ignore[misc]
    """Lets go of each result once it is told.

    Tune keeps those of all steps of a process until the process ends: 1.4 KiB a step and the result itself, gigabytes
    in a week. What is called here is Ray's own, but not documented; without it memory grows, and nothing else happens.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called between two steps of a slot, when it has no other call under way."""
        with contextlib.suppress(AttributeError, KeyError):
            tune_controller._actor_manager.clear_actor_task_futures(tune_controller._trial_to_actor[trial])
        decision: str = super().on_trial_result(tune_controller, trial, result)
        return decision


class _Watcher(Callback):  # type: ignore[misc]
    """Passes what slots tell, and what became of trials whose process died, to the driver's watch."""

    def __init__(self, watch: Watch, stock: Stock) -> None:
        self._watch, self._stock = watch, stock
        self._silent_deaths: Counter[str] = Counter()
        self._processes: dict[str, tuple[str, int]] = {}
        """(host, pid) of each slot."""
        self._nodes: dict[str, str] = {}
        """Of each slot."""
        self._draining, self._drained = Draining(), frozenset[str]()

    def __reduce__(self) -> tuple[Any, ...]:
        return Callback, ()  # Tune pickles callbacks into a snapshot that is never read; a terminal cannot be pickled

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self._drained |= self._draining.nodes()  # asked now: of a node that is gone Ray does not tell it any more

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self._processes[trial.trial_id] = result["hostname"], result["pid"]
        self._nodes[trial.trial_id] = result.get(NODE, "")
        for event in pickle.loads(result[EVENTS]) if EVENTS in result else ():
            self._silent_deaths[trial.trial_id] = 0
            self._watch(event)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._silent_deaths[trial.trial_id] += 1
        if self._silent_deaths[trial.trial_id] > PROCESS_RESTARTS:
            trial.max_failures = trial.num_failures  # Tune looks at it after the next death
        ending = ending_of_process(trial.get_pickled_error(), noticed=self._nodes.get(trial.trial_id) in self._drained)
        for job in self._had(self._processes.get(trial.trial_id)):
            with contextlib.suppress(LedgerError):  # then whoever takes it next notes what it can see
                event = note_lost_process(job, ending)
                if event is not None:
                    self._watch(event)

    def _had(self, process: tuple[str, int] | None) -> Iterator[TrialJob]:
        """The trial that a dead process had; others need not wait until its lease expires."""
        for offer in self._stock.offers:
            lease = self._stock.ledger.trial(offer.trial).lease
            holder = lease.last_holder()
            if holder is not None and (holder.host, holder.pid) == process:
                lease.revoke(holder)
                yield offer.load()


class _NothingLeft(Callback, Stopper):  # type: ignore[misc]
    """Ends slots that wait for a node when no other runs and there is nothing left to do: no node may ever come."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._one_runs, self._next_look = True, 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return Callback, ()  # as _Watcher

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self._one_runs = any(trial.status == Trial.RUNNING for trial in trials)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self._one_runs or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_AGAIN_S
        return not self._stock.has_more


def ending_of_process(error: Exception | None, *, noticed: bool) -> Ending:
    """How a process ended, as Ray tells it in words. ``noticed``: its node was to be taken away.

    Ray itself calls that preempted only after the notice's deadline, which clouds do not always wait for.
    """
    told = str(error)
    if "running low on memory" in told:
        return Ending("out of memory", "Ray ended its process because the node was short of memory")
    if noticed or getattr(error, "preempted", False):
        return Ending("preempted", "its node was taken away in the middle of a round")
    if "node has died" in told:
        return Ending("node lost", "its node died")
    return Ending("process died")
