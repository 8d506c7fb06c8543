"""The metrics that a running grid exposes to Prometheus: one description, which emission, docs and dashboards share.

The driver counts them from the events it hears; trials know nothing of them. Names and units follow Prometheus' own
advice: base units, and ``_total`` for what only grows. Ray puts ``ray_`` before every name when it exposes them.
Seconds are exported as sums that grow, not as histograms, whose sums Ray approximates from their buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from labelbench_ray.config import Trial
from labelbench_ray.execution.job import TrialJob
from labelbench_ray.execution.progress import STANDINGS, Event, Tally

EXPOSED_PREFIX = "ray_"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: what it counts, and by which labels."""

    name: str
    kind: Literal["counter", "gauge"]
    told: str
    labels: tuple[str, ...] = ()
    """Beside ``experiment``, which all have."""

    @property
    def exposed(self) -> str:
        """Its name in Prometheus."""
        return EXPOSED_PREFIX + self.name


TRIALS = Metric(
    name="labelbench_trials", kind="gauge", told="Trials of the stage that runs, by where they stand.",
    labels=("stage", "state"),
)  # fmt: skip
ROUNDS_LEFT = Metric(
    name="labelbench_rounds_left", kind="gauge", told="Rounds still to do in the stage that runs.", labels=("stage",)
)
ROUNDS = Metric(name="labelbench_rounds_total", kind="counter", told="Rounds finished and written.", labels=("stage",))
LABELS_BOUGHT = Metric(
    name="labelbench_labels_bought_total",
    kind="counter",
    told="Labels that a finished round was the first to train on.",
)
STAGE_SECONDS = Metric(
    name="labelbench_stage_seconds_total", kind="counter", labels=("step",),
    told="Seconds that finished rounds spent in training, evaluation and selection, summed over trials.",
)  # fmt: skip
IMAGES_EMBEDDED = Metric(
    name="labelbench_images_embedded_total", kind="counter", told="Rows embedded, each view of an image counted."
)
CACHE_HITS = Metric(
    name="labelbench_cache_hits_total", kind="counter", labels=("kind",),
    told="What was found done and not done again: trials, rounds of trials that go on, and views of embeddings.",
)  # fmt: skip
RETRIES = Metric(
    name="labelbench_retries_total", kind="counter", told="Attempts at trials that are made again.", labels=("reason",)
)
FAILURES = Metric(name="labelbench_failures_total", kind="counter", told="Trials that failed for good.")

METRICS = (
    TRIALS, ROUNDS_LEFT, ROUNDS, LABELS_BOUGHT, STAGE_SECONDS, IMAGES_EMBEDDED, CACHE_HITS, RETRIES, FAILURES,
)  # fmt: skip

STEPS = {"train_s": "train", "evaluate_s": "evaluate", "select_s": "select"}
"""Which costs of a round are seconds of which step."""


class Emitter(Protocol):
    """Where numbers go: Prometheus through Ray, or a dictionary in tests."""

    def add(self, metric: Metric, amount: float, **labels: str) -> None:
        """Let a counter grow; by nothing is allowed and tells that the counter is there."""
        ...

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


class Silent:
    """Emits nothing, where nobody can scrape."""

    def add(self, metric: Metric, amount: float, **labels: str) -> None:
        """Do nothing."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Do nothing."""


class StageMetrics:
    """Counts the events of one stage of a grid."""

    def __init__(self, emitter: Emitter, stage: str, jobs: Sequence[TrialJob], finished: Sequence[int]) -> None:
        """``finished`` are the rounds that the ledger has of each job."""
        self._emitter, self._stage = emitter, stage
        self._budgets = {job.trial.id: _budgets(job) for job in jobs}
        self._tally = Tally(len(jobs), sum(job.num_rounds for job in jobs) - sum(finished))
        emitter.add(CACHE_HITS, sum(finished), kind="rounds")
        self._set_gauges()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        self._tally(event)
        if event.what == "round":
            self._count_round(event)
        elif event.what == "retry":
            self._emitter.add(RETRIES, 1, reason=event.reason or "process died")
        elif event.what == "failed":
            self._emitter.add(FAILURES, 1)
        self._set_gauges()

    def _count_round(self, event: Event) -> None:
        self._emitter.add(ROUNDS, 1, stage=self._stage)
        for cost, step in STEPS.items():
            if cost in event.costs:
                self._emitter.add(STAGE_SECONDS, event.costs[cost], step=step)
        if budgets := self._budgets[event.trial]:
            before = budgets[event.round - 1] if event.round else 0
            self._emitter.add(LABELS_BOUGHT, max(0, event.num_labeled - before))

    def _set_gauges(self) -> None:
        standings = self._tally.standings
        for standing in STANDINGS:
            self._emitter.set(TRIALS, standings[standing], stage=self._stage, state=standing)
        self._emitter.set(ROUNDS_LEFT, self._tally.rounds_left, stage=self._stage)


def _budgets(job: TrialJob) -> list[int]:
    """Labels that each round trains on; nothing for an evaluation, which buys none."""
    return job.trial.schedule.budgets() if isinstance(job.trial, Trial) else []
