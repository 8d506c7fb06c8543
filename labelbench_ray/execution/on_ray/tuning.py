"""A search through Ray Tune: Tune schedules, the search (execution/tuning.py) draws, stops and keeps the ledger.

A Tune trial measures one configuration, length after length; after each it waits for the driver, which stops it where
the search says so. Trials are functions whose processes are used again, or coordinators of training workers (see
preflight.py), as those of a grid.
"""

import pickle
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any

from ray import tune
from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from labelbench_ray.config.tuning import SHARES
from labelbench_ray.errors import TrainingError
from labelbench_ray.execution.on_ray.sweep import COORDINATOR, PROCESS_RESTARTS, quiet_tune
from labelbench_ray.execution.on_ray.training import launch_on_ray
from labelbench_ray.execution.preflight import Node, concurrency
from labelbench_ray.execution.progress import Watch
from labelbench_ray.execution.tuning import Search, failed_event, measured_events, reason
from labelbench_ray.execution.tuning_measure import Bench, Measured, TuningJob


def run_on_ray(search: Search, job: TuningJob, watch: Watch, nodes: Sequence[Node]) -> None:
    """Measure everything that is left, as many configurations at a time as the nodes can hold."""
    unit = job.unit
    most = concurrency(unit, nodes, job.resources.max_concurrent)
    bundles: list[dict[str, float]] = [COORDINATOR] if unit.layout == "coordinated" else [dict(b) for b in unit.bundles]
    driver = _Driver(search, pickle.dumps(job), watch)
    with tempfile.TemporaryDirectory(prefix="labelbench-tune-") as storage, quiet_tune():
        Tuner(
            tune.with_resources(_measure_lengths, PlacementGroupFactory(bundles)),
            tune_config=TuneConfig(
                search_alg=_Draws(driver),
                scheduler=_Stops(driver),
                num_samples=-1,  # the search says when it has no more
                reuse_actors=True,
                max_concurrent_trials=most,
            ),
            run_config=RunConfig(
                name="search",
                storage_path=storage,
                failure_config=FailureConfig(max_failures=PROCESS_RESTARTS),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


def _measure_lengths(config: dict[str, Any]) -> None:
    """The body of a Tune trial: a configuration at each length, until the driver stops it."""
    job: TuningJob = pickle.loads(config["job"])
    launch = partial(launch_on_ray, worker=job.resources.share_of("train").bundle)
    bench, number = Bench(job, launch), config["number"]
    for rung in range(config["rung"], len(SHARES)):
        try:
            measured = bench.measure(number, config["values"], rung)
        except Exception as error:
            # Raising would make Tune try again what would fail again.
            lasting = isinstance(error, TrainingError)
            tune.report({"number": number, "rung": rung, "error": reason(error), "lasting": lasting})
            return
        tune.report({"number": number, "rung": rung, "value": measured.value, "seconds": measured.seconds})


class _Driver:
    """What Tune's two hooks share: the search, and which trial measures which configuration."""

    def __init__(self, search: Search, packed_job: bytes, watch: Watch) -> None:
        self.search, self.packed_job, self.watch = search, packed_job, watch
        self.numbers: dict[str, tuple[int, int]] = {}
        """(configuration, the rung it is at) of every trial that has not ended."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()  # Tune pickles its hooks into a snapshot that is never read

    def suggest(self, trial: str) -> dict[str, Any] | None:
        configuration = self.search.next()
        if configuration is None:
            return None
        self.numbers[trial] = configuration.number, configuration.rung
        told = {"number": configuration.number, "values": configuration.values, "rung": configuration.rung}
        return {**told, "job": self.packed_job}

    def take(self, trial: str, result: dict[str, Any]) -> bool:
        """Note a result; whether the trial goes on."""
        number, rung = result["number"], result["rung"]
        if self.search.knows(number, rung):
            return True
        if "error" in result:
            self.search.failed(number, rung, result["error"], lasting=result["lasting"])
            self.watch(failed_event(number, result["error"]))
            self.numbers.pop(trial, None)
            return True
        goes_on = self.search.took(number, rung, Measured(result["value"], result["seconds"]))
        self.numbers[trial] = number, rung + 1
        for event in measured_events(number, rung, result["value"], goes_on):
            self.watch(event)
        if not goes_on:
            self.numbers.pop(trial)
        return goes_on

    def lost(self, trial: str) -> None:
        """Its process died for the last time."""
        if trial in self.numbers:
            number, rung = self.numbers.pop(trial)
            error = f"its process died {PROCESS_RESTARTS + 1} times"
            self.search.failed(number, rung, error, lasting=False)
            self.watch(failed_event(number, error))


class _Draws(Searcher):  # type: ignore[misc]  # ray is not typed
    """Gives Tune the search's configurations."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> Any:
        """The next configuration, or that there are no more."""
        return self._driver.suggest(trial_id) or Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended; what it measured is known already."""
        if error:
            self._driver.lost(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what a search goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class _Stops(FIFOScheduler):  # type: ignore[misc]
    """Ends trials that the search stops."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called before the trial trains on."""
        go_on = self._driver.take(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)
