"""What the driver counts for Prometheus, from events alone."""

import re
from types import SimpleNamespace

import pytest
from trials import make_trial

from labelbench_ray.execution.metrics import (
    CACHE_HITS,
    FAILURES,
    LABELS_BOUGHT,
    METRICS,
    RETRIES,
    ROUNDS,
    ROUNDS_LEFT,
    STAGE_SECONDS,
    TRIALS,
    Silent,
    StageMetrics,
)
from labelbench_ray.execution.progress import STANDINGS, Event


class Sums:
    """Counters add up, gauges are set; both by name and labels."""

    def __init__(self):
        self.values = {}

    def _at(self, metric, labels):
        assert set(labels) == set(metric.labels), metric.name
        return (metric.name, *(labels[name] for name in metric.labels))

    def add(self, metric, amount, **labels):
        assert metric.kind == "counter"
        assert amount >= 0
        key = self._at(metric, labels)
        self.values[key] = self.values.get(key, 0) + amount

    def set(self, metric, value, **labels):
        assert metric.kind == "gauge"
        self.values[self._at(metric, labels)] = value

    def of(self, metric, *labels):
        return self.values.get((metric.name, *labels))


def job(seed=0):
    """9 labels, then 8 a round; 4 rounds."""
    trial = make_trial(seed=seed)
    return SimpleNamespace(trial=trial, num_rounds=trial.schedule.rounds)


def evaluation():
    return SimpleNamespace(trial=SimpleNamespace(id="e"), num_rounds=1)


def counted(*events, jobs=None, finished=(0, 0)):
    sums = Sums()
    stage = StageMetrics(sums, "select", jobs or [job(0), job(1)], finished)
    for one in events:
        stage(one)
    return sums


def event(what, seed=0, **more):
    return Event(trial=make_trial(seed=seed).id, name=f"margin seed {seed}", what=what, **more)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_units_and_descriptions_are_as_prometheus_advises(metric):
    assert re.fullmatch(r"labelbench_[a-z_]+[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.told.endswith(".")
    assert metric.exposed == f"ray_{metric.name}"
    assert not re.search(r"_(ms|minutes|hours|percent|mb|gib)(_|$)", metric.name)


def test_names_are_distinct():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_a_new_stage_has_all_trials_waiting_and_all_rounds_left():
    sums = counted()
    assert {state: sums.of(TRIALS, "select", state) for state in STANDINGS} == {
        "waiting": 2, "running": 0, "done": 0, "failed": 0, "interrupted": 0,
    }  # fmt: skip
    assert sums.of(ROUNDS_LEFT, "select") == 8


def test_rounds_add_up_with_their_seconds_and_labels():
    costs = {"train_s": 2.0, "evaluate_s": 0.5, "round_s": 3.0}
    sums = counted(
        event("round", round=0, num_labeled=9, costs={**costs, "select_s": 0.25}),
        event("round", round=1, num_labeled=17, costs=costs),
        event("round", seed=1, round=0, num_labeled=9, costs=costs),
    )
    assert sums.of(ROUNDS, "select") == 3
    assert sums.of(LABELS_BOUGHT) == 9 + 8 + 9
    assert [sums.of(STAGE_SECONDS, step) for step in ("train", "evaluate", "select")] == [6.0, 1.5, 0.25]
    assert sums.of(ROUNDS_LEFT, "select") == 5
    assert sums.of(TRIALS, "select", "running") == 2


def test_a_trial_that_goes_on_buys_only_its_new_labels_and_its_old_rounds_are_cache_hits():
    sums = counted(event("round", round=2, num_labeled=25), finished=(2, 0))
    assert sums.of(LABELS_BOUGHT) == 8
    assert sums.of(CACHE_HITS, "rounds") == 2
    assert sums.of(ROUNDS_LEFT, "select") == 5


def test_a_last_batch_that_the_pool_cut_short_counts_as_it_was():
    assert counted(event("round", round=1, num_labeled=12)).of(LABELS_BOUGHT) == 3


def test_evaluations_buy_nothing():
    told = Event(trial="e", name="finetune of margin@17 seed 0", what="round", num_labeled=17)
    sums = counted(told, jobs=[evaluation()], finished=[0])
    assert (sums.of(ROUNDS, "select"), sums.of(LABELS_BOUGHT)) == (1, None)


def test_retries_count_by_reason_and_failures_once():
    sums = counted(
        event("retry", reason="out of memory"), event("retry", reason="preempted"), event("retry", reason="preempted"),
        event("failed", error="no"),
    )  # fmt: skip
    assert (sums.of(RETRIES, "out of memory"), sums.of(RETRIES, "preempted"), sums.of(FAILURES)) == (1, 2, 1)
    assert sums.of(TRIALS, "select", "failed") == 1


def test_where_nobody_scrapes_nothing_happens():
    silent = Silent()
    StageMetrics(silent, "select", [job()], [0])(event("round", num_labeled=9))
    assert vars(silent) == {}  # a week of events leaves nothing behind
