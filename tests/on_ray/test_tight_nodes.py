"""Trials that start groups and actors of their own, on nodes with room for nothing more: all come to their end."""

import pytest
import yaml
from benchmark_parts import part
from runs import SMALL

from labelbench_ray.benchmark.state import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(590)]

LIMIT_S = 500


@pytest.mark.parametrize(
    ("cpus", "at_a_time"),
    [(1, 1), (2, 2)],
    ids=["a worker needs a whole node, so actors may not lie on both", "as many groups and actors as there are cpus"],
)
def test_groups_and_actors_never_wait_for_each_other_for_ever(tmp_path, cpus, at_a_time):
    study = part("grid_study").Study(folder=tmp_path)
    spec = {
        **SMALL,
        "trainer": {"name": "finetune", "through": "ray_train", "epochs": 1, "min_steps": 2, "train_batch_size": 16},
        "strategy": ["margin", "badge"],
        "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 2},  # a group, actors, and a group again
        "seeds": at_a_time,
        "selection": {"tile_rows": 71, "shards": 2, "through": "actors"},
        "resources": {"train": {"cpus": 1}, "select": {"cpus": 0.5}},
    }
    study.file.write_text(yaml.safe_dump({**spec, "name": study.name}))
    with part("grid_nodes").started(2, cpus=cpus) as nodes:
        study.run("--address", nodes.address, limit_s=LIMIT_S)
    trials = list(Ledger(study.results).trials())
    assert len(trials) == 2 * at_a_time
    assert [[one.ended for one in trial.attempts.read()] for trial in trials] == [["done"]] * len(trials)
