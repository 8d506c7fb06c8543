"""A stage's time on the nodes there are, and the hours it holds."""

import numpy as np
import pytest

from labelbench_ray.api.forecasting.figures import Figure
from labelbench_ray.api.forecasting.scratch import scratch_of
from labelbench_ray.api.forecasting.stage import Bytes, Stage, Work, makespan
from labelbench_ray.benchmark.history import MeasuredRound
from labelbench_ray.datasets.base import DATASETS
from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.execution.preflight import GPU, Unit
from labelbench_ray.features.measured import MeasuredSet
from labelbench_ray.identity import describe
from labelbench_ray.trainers.base import TRAINERS


def naive_makespan(seconds, at_a_time):
    """Whoever is free first takes the next."""
    free_at = [0.0] * at_a_time
    for each in seconds:
        place = free_at.index(min(free_at))
        free_at[place] += each
    return max(free_at)


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7, 50])
def test_places_are_filled_in_order_as_they_become_free(at_a_time):
    seconds = np.random.default_rng(0).uniform(0, 5, 40).tolist()
    assert makespan(seconds, at_a_time) == pytest.approx(naive_makespan(seconds, at_a_time))


def test_the_makespan_of_nothing_of_one_at_a_time_and_of_no_place():
    assert makespan([], 3) == 0.0
    assert makespan([1.0, 2.0], 1) == 3.0
    assert makespan([1.0, 2.0], 0) is None


def stage(*work):
    return Stage(
        name="select", of="trials", num_to_do=len(work), num_done=0, num_rounds=0, work=work, at_a_time=1, wall_s=0.0,
        memory_gib=None, disk=Bytes(), scratch=Bytes(),
    )  # fmt: skip


def test_hours_are_of_all_that_is_held():
    small = Unit("inline", {"CPU": 2.0})
    group = Unit("coordinated", {}, ({"CPU": 1.0, GPU: 0.5},) * 4)
    told = stage(Work(Figure(3600.0, {"measured here": 1}), small), Work(Figure(1800.0, {"measured here": 1}), group))
    assert told.hours("CPU") == 2.0 + 0.5 * 4
    assert told.hours(GPU) == 0.5 * 2
    assert told.figure == Figure(5400.0, {"measured here": 2})
    assert [seconds for _, seconds in told.seconds_by_unit] == [[3600.0], [1800.0]]


def test_one_takes_the_mean_of_those_of_which_anything_is_known():
    unit = Unit("inline", {"CPU": 1.0})
    known = [Work(Figure(seconds, {"measured here": 1}), unit) for seconds in (2.0, 4.0)]
    unknown = Work(Figure(0.0, {"unknown": 1}), unit)
    assert stage(*known, unknown).one == Figure(3.0, {"measured here": 2})
    assert stage(unknown, unknown).one == Figure(0.0, {"unknown": 1})
    half = Work(Figure(6.0, {"measured here": 1, "unknown": 1}), unit)
    assert stage(*known, half).one.seconds == 4.0
    assert not stage(*known, half).one.complete


def test_bytes_that_are_unknown_are_named_once():
    both = Bytes(3, ("a",)) + Bytes(4, ("a", "b"))
    assert both == Bytes(7, ("a", "b"))
    assert both.times(2) == Bytes(14, ("a", "b"))
    assert both.times(0) == Bytes()


PIXELS = ENCODERS.build("pixels")
STORED = MeasuredSet(key={"encoder": describe(PIXELS)}, num_rows=10, width=64, seconds=1.0)
KEPT = MeasuredRound(
    dataset="d", encoder="pixels", model="finetune", strategy="s", device="cpu", num_labeled=5, labels_bought=None,
    steps=None, train_s=1.0, evaluate_s=1.0, select_s=None, peak_memory_gib=1.0, model_bytes=1000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("trainer", "sets", "seen", "expected"),
    [
        ("linear", [STORED], [KEPT], Bytes()),
        # 1,797 digits of 10 classes, float32; weights and two moments.
        ("finetune", [STORED], [KEPT], Bytes(1797 * (10 + 64) * 4 + 3 * 1000)),
        ("finetune", [], [], Bytes(0, ("scores: the width of encoder pixels", "checkpoints"))),
        ({"name": "blend", "proxy": "linear", "full": "lora", "every": 2}, [STORED], [],
         Bytes(1797 * (10 + 64) * 4, ("checkpoints",))),
    ],
    ids=["head", "known", "unknown", "blend"],
)  # fmt: skip
def test_end_to_end_training_keeps_scores_and_a_checkpoint_while_it_runs(trainer, sets, seen, expected):
    assert scratch_of(DATASETS.build("digits"), PIXELS, TRAINERS.build(trainer), sets, seen) == expected
