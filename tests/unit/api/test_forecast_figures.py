"""Which measured round answers for a planned one, and how it is scaled."""

from types import SimpleNamespace

import pytest

from labelbench_ray.api.forecasting.figures import Figure, History, RoundKey, Source
from labelbench_ray.benchmark.history import MeasuredRound
from labelbench_ray.config import Experiment

SGD = SimpleNamespace(optimizer="adam", train_batch_size=10, epochs=2, min_steps=0)
LBFGS = SimpleNamespace(optimizer="lbfgs", train_batch_size=10, epochs=2, min_steps=0)


def measured(num_labeled=100, **changes):
    told = {
        "dataset": "d", "encoder": "e", "model": "m", "strategy": "s", "device": "cpu", "num_labeled": num_labeled,
        "labels_bought": 50, "steps": None, "train_s": 8.0, "evaluate_s": 2.0, "select_s": 1.0, "peak_memory_gib": 1.0,
    }  # fmt: skip
    return MeasuredRound(**(told | changes))


def key(num_labeled=100, labels_to_buy=50, **changes):
    told = {"dataset": "d", "encoder": "e", "model": "m", "strategy": "s"}
    return RoundKey(**(told | changes), num_labeled=num_labeled, labels_to_buy=labels_to_buy)


def look_up(asked, *sources, trainer=SGD, device="cpu"):
    return History([Source(where, rounds) for where, rounds in sources], device).round(asked, trainer)


def test_an_equal_round_is_measured_and_the_median_counts():
    rounds = [measured(train_s=seconds) for seconds in (7.0, 8.0, 30.0)]
    found = look_up(key(), ("here", rounds))
    assert found.train == Figure(8.0, {"measured here": 1})
    assert found.all == Figure(11.0, {"measured here": 3})
    assert found.all.complete


def test_other_numbers_of_labels_scale_training_by_steps_and_nothing_else():
    # 2 passes: 100 labels are 20 steps, 300 are 60.
    found = look_up(key(300), ("here", [measured(100)]))
    assert found.train == Figure(24.0, {"scaled from one measured here": 1})
    assert found.evaluate == Figure(2.0, {"measured here": 1})
    assert found.select == Figure(1.0, {"measured here": 1})


def test_fewer_labels_than_a_batch_still_take_the_least_steps():
    trainer = SimpleNamespace(optimizer="adam", train_batch_size=128, epochs=2, min_steps=20)
    assert look_up(key(3), ("here", [measured(100)]), trainer=trainer).train.seconds == 8.0


def test_steps_that_were_taken_count_where_they_are_known():
    """Early stopping ended after 5 of 20 steps: a step took 8 / 5 seconds."""
    assert look_up(key(300), ("here", [measured(100, steps=5.0)])).train.seconds == pytest.approx(60 * 8.0 / 5)


def test_full_batches_scale_by_labels():
    assert look_up(key(300), ("here", [measured(100, steps=5.0)]), trainer=LBFGS).train.seconds == 24.0


def test_the_nearest_number_of_labels_by_ratio_is_scaled():
    rounds = [measured(10, train_s=100.0), measured(1000, train_s=8.0)]
    assert look_up(key(200), ("here", rounds)).train.seconds == pytest.approx(8.0 / 5)


def test_exact_before_scaled_then_here_before_others():
    here, there = [measured(50, train_s=1.0)], [measured(100, train_s=9.0)]
    found = look_up(key(100), ("here", here), ("in old", there))
    assert found.train == Figure(9.0, {"measured in old": 1})
    assert found.evaluate.origins == {"measured here": 1}
    both = look_up(key(100), ("here", [measured(train_s=1.0)]), ("in old", there))
    assert both.train == Figure(1.0, {"measured here": 1})


@pytest.mark.parametrize("part", ["dataset", "encoder", "model"])
def test_a_round_of_anything_else_is_unknown(part):
    found = look_up(key(), ("here", [measured(**{part: "other"})]))
    assert found.all == Figure(0.0, {"unknown": 3})
    assert not found.all.known


def test_another_kind_of_device_tells_nothing():
    assert not look_up(key(), ("here", [measured()]), device="cuda").all.known


@pytest.mark.parametrize("changes", [{"strategy": "other"}, {"labels_bought": 49}])
def test_selection_is_known_of_the_same_strategy_and_batch_alone(changes):
    found = look_up(key(), ("here", [measured(**changes)]))
    assert found.select == Figure(0.0, {"unknown": 1})
    assert found.all == Figure(10.0, {"measured here": 2, "unknown": 1})
    assert found.all.known
    assert not found.all.complete


def test_the_last_round_selects_nothing():
    assert look_up(key(labels_to_buy=None), ("here", [])).select == Figure()


def test_a_trainer_whose_steps_nobody_knows_is_not_scaled():
    trainer = SimpleNamespace()
    assert look_up(key(300), ("here", [measured(100)]), trainer=trainer).train == Figure(0.0, {"unknown": 1})
    assert look_up(key(100), ("here", [measured(100)]), trainer=trainer).train.seconds == 8.0


def test_real_trainers_are_scaled():
    spec = {"name": "x", "dataset": "digits", "strategy": "random", "seeds": 1,
            "schedule": {"initial": 5, "labels_per_round": 5, "rounds": 2}}  # fmt: skip
    trainers = ["linear", {"name": "shallow", "algorithm": "flexmatch"}, "finetune", "lora"]
    for trainer in Experiment.from_mapping({**spec, "trainer": trainers}).trainer:
        found = look_up(key(100_000), ("here", [measured(50_000)]), trainer=trainer)
        assert found.train.seconds == pytest.approx(16.0, rel=0.01)
