"""A grid on nodes that share no folder: results and features lie in an object store."""

import pytest
import yaml
from benchmark_parts import part
from object_store import CREDENTIALS, environment, new_bucket, s3_server, shards_sent
from runs import facts, spec

from labelbench_ray.api import grid
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Experiment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(590)]

LIMIT_S = 400

SPEC = spec(
    features={"shard_rows": 400},  # the pool is three shards, validation and test are one each
    strategy=["random", "margin"],
    schedule={"initial": 20, "labels_per_round": 15, "rounds": 2},
    seeds=3,
)


@pytest.fixture
def bucket(tmp_path):
    with (
        s3_server() as address,
        environment(AWS_ENDPOINT_URL=address, LABELBENCH_COPIES=str(tmp_path / "driver"), **CREDENTIALS),
    ):
        yield new_bucket(address)


def shards_in(folder):
    return sorted(f"{path.parent.name}/{path.name}" for path in folder.rglob("*.npy"))


def test_a_node_gets_each_shard_once_and_rows_are_those_of_one_process(tmp_path, bucket):
    quiet = grid.run(Experiment.from_mapping(SPEC), tmp_path / "quiet", tmp_path / "features", executor="in_process")
    study = part("grid_study").Study(folder=tmp_path)
    study.file.write_text(yaml.safe_dump(SPEC))
    copies = [tmp_path / name for name in ("first node", "second node")]
    results = f"{bucket}/results"
    with part("grid_nodes").started(0) as nodes:
        for folder in copies:
            with environment(LABELBENCH_COPIES=str(folder)):  # what a node's processes inherit
                nodes.add()
        where = ("--results", results, "--features", f"{bucket}/features")
        study.run("--address", nodes.address, *where, limit_s=LIMIT_S)
    assert facts(results) == facts(quiet.results)
    assert all(len(trial.attempts.read()) == 1 for trial in Ledger(results).trials())
    there = shards_in(copies[0])
    assert len(there) == 3 + 1 + 1
    assert shards_in(copies[1]) == there
    assert shards_in(tmp_path / "driver") == []
    sent = {name.removeprefix("features/"): count for name, count in shards_sent(bucket).items()}
    assert sent == dict.fromkeys(there, 1), "by the node that did not make it"
