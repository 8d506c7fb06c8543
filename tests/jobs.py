"""Jobs whose rounds cost nothing: what is tried is who runs them, what is written, and how they may end.

A round's row and bought id depend on the trial and on the round before, so that a round that was lost or done twice
shows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from trials import make_inputs, make_trial

from labelbench_ray.benchmark.loop import RoundDone
from labelbench_ray.benchmark.results import RowKey, bought_table, rows_table
from labelbench_ray.benchmark.run_folder import RunFolder
from labelbench_ray.config import Limits, Resources, Selection
from labelbench_ray.execution import attempt
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.storage.place import Where, place_at

SOON = Limits(wait_s=0.001)
ROUNDS = 3


def make_job(results: Where, seed: int = 0, limits: Limits = SOON, run: str = "first", **trial: Any) -> TrialJob:
    place = place_at(results)
    return TrialJob(
        trial=make_trial(seed=seed, rounds=ROUNDS, **trial),
        experiment="jobs",
        results=place,
        features=place.below("features"),
        selection=Selection(),
        resources=Resources(),
        limits=limits,
        run=RunFolder(place.below("runs").below(run)),
    )


@dataclass
class Rounds:
    """Stands for the rounds of a trial; ``before`` and ``after`` each are called with (job's trial, round)."""

    before: Any = lambda trial, index: None
    after: Any = lambda trial, index: None

    def use(self, monkeypatch: Any) -> "Rounds":
        monkeypatch.setattr(attempt, "open_inputs", lambda *_: make_inputs(num_rows=30))
        monkeypatch.setattr(attempt, "run_trial", self.run)
        return self

    def run(self, trial: Any, inputs: Any, ledger: Any) -> Any:
        for index in range(ledger.finished_rounds(), ROUNDS):
            self.before(trial, index)
            earlier = ledger.bought()["example_id"].to_pylist()
            value = trial.seed + sum(earlier) / 7
            bought = [(index + 1, np.array([len(earlier) + 10 * index]), np.array([0]))]
            ledger.commit_round(
                index, rows_table(_key(trial, index), {"test": {"accuracy": value}}), bought_table(trial.id, bought)
            )
            self.after(trial, index)
            yield RoundDone(round=index, num_labeled=index, values={"test": {"accuracy": value}}, costs={})


def _key(trial: Any, index: int) -> RowKey:
    return RowKey(
        trial=trial.id, kind="selection", **trial.labels(), model="linear", seed=trial.seed, round=index,
        num_labeled=index, bought="b", initial="i", numeric_class="c", cheats=False,
    )  # fmt: skip


def run(job: TrialJob, told_to_leave: Any = attempt.never) -> list[Any]:
    """Try a job once; its events."""
    return list(attempt.run_job(job, launch=None, make_spread=None, told_to_leave=told_to_leave))  # type: ignore[arg-type]


def whats(events: Any) -> list[str]:
    return [event.what for event in events]
