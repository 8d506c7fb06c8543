"""A study of rows of several classes gives on Ray what it gives in one process."""

import pytest
from runs import facts, spec
from trials import write_marked_features

from labelbench_ray.api import grid
from labelbench_ray.config import Experiment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster", "without_reports")]


def run(tmp_path, executor, **changes):
    dataset = {"name": "features", "path": str(write_marked_features(tmp_path / "marked.npz"))}
    study = spec(dataset=dataset, encoder="vectors", strategy="galaxy", **changes)
    results = tmp_path / executor
    return grid.run(Experiment.from_mapping(study), results, tmp_path / "features", executor=executor)


def test_rows_bought_labels_and_evaluations_are_those_of_one_process(tmp_path):
    evaluate = {"trainer": {"name": "linear", "weight_decay": 0.5}, "at": "last"}
    here = run(tmp_path, "in_process", evaluate=evaluate)
    selection = {"tile_rows": 71, "shards": 3, "through": "actors", "actors": 1}
    on_ray = run(tmp_path, "ray", evaluate=evaluate, selection=selection, resources={"cpus": 1, "select": {"cpus": 1}})
    assert here.failed == on_ray.failed == []
    assert facts(on_ray.results) == facts(here.results)
    assert len(facts(here.results)) == 2
