"""A search through Ray Tune: the same as in process when one at a time, and whole when several are."""

import pytest
from runs import spec
from tuning_data import rows_of

from labelbench_ray.api import tuning
from labelbench_ray.config import Experiment, Tuning
from labelbench_ray.execution.tuning_ledger import TuningLedger

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SEARCH = {"learning_rate": {"log_uniform": [1e-3, 1.0]}, "algorithm": {"p_cutoff": {"choice": [0.8, 0.95]}}}
TRAINER = {"name": "linear", "algorithm": "flexmatch", "epochs": 9, "min_steps": 0}


def study(**changes):
    return Experiment.from_mapping(spec(**{"strategy": "random", "trainer": TRAINER, "search": SEARCH, **changes}))


def tune(tmp_path, name, experiment, **options):
    options = {"configurations": 5, "executor": "ray", **options}
    return tuning.tune(experiment, tmp_path / name, tmp_path / "features", **options)


def rows(tmp_path, name, experiment):
    return rows_of(TuningLedger(tmp_path / name, Tuning.of(experiment, 0.1, 0)))


def test_one_at_a_time_a_search_on_ray_equals_one_in_process(tmp_path):
    experiment = study(resources={"max_concurrent": 1})
    here = tune(tmp_path, "here", experiment, executor="in_process")
    there = tune(tmp_path, "there", experiment)
    assert rows(tmp_path, "there", experiment) == rows(tmp_path, "here", experiment)
    assert there.best.value == here.best.value
    assert tune(tmp_path, "there", experiment).num_measured == 0


@pytest.mark.slow
def test_two_at_a_time_every_configuration_comes_to_its_end_and_failures_sink_none(tmp_path):
    search = {"learning_rate": {"choice": [0.01, 0.1, 1e30]}}
    trainer = {"name": "linear", "optimizer": "sgd", "epochs": 9}
    experiment = study(search=search, trainer=trainer, resources={"cpus": 0.5, "max_concurrent": 2})
    outcome = tune(tmp_path, "two", experiment, configurations=6)
    last = {one.configuration: one.verdict for one in rows(tmp_path, "two", experiment)}
    assert sorted(last) == list(range(6))
    assert set(last.values()) <= {"finished", "stopped", "failed"}
    assert outcome.best
    assert all("learning rate" in reason for _, reason in outcome.failed)


@pytest.mark.slow
@pytest.mark.timeout(900)  # three groups of training workers are started and ended
def test_end_to_end_training_is_searched_through_its_own_launch(tmp_path):
    trainer = {"name": "finetune", "through": "ray_train", "epochs": 3, "min_steps": 3, "train_batch_size": 16}
    encoder = {"name": "open_clip", "model": "labelbench-vit-tiny"}
    search = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}
    experiment = study(trainer=trainer, encoder=encoder, search=search)
    outcome = tune(tmp_path, "images", experiment, configurations=1, fraction=0.03)
    assert [one.verdict for one in rows_of(TuningLedger(tmp_path / "images", Tuning.of(experiment, 0.03, 0)))] == [
        "goes on",
        "goes on",
        "finished",
    ]
    assert outcome.best
