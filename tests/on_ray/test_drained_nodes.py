"""A node that will be taken away, as Ray is told by autoscalers, spot instances and `ray drain-node`."""

import time

import pytest
from benchmark_parts import part

from labelbench_ray.benchmark.state import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(200)]

LIMIT_S = 100
ROUNDS = 8


def test_a_trial_leaves_a_node_that_drains_after_its_round_and_goes_on_where_one_is_added(tmp_path):
    study = part("grid_study").Study(folder=tmp_path).write(1, rounds=ROUNDS, seconds=0.5)
    with part("grid_nodes").started(1) as nodes:
        (drained,) = nodes.living
        process = study.start("--address", nodes.address)
        try:
            wait_until(lambda: num_rounds(study), process)
            nodes.drain(drained, within_s=60)
            nodes.add()
            process.wait(LIMIT_S)
        finally:
            part("grid_study").end(process)
    assert process.returncode == 0, (tmp_path / "run.err").read_text()
    (trial,) = Ledger(study.results).trials()
    left, resumed = trial.attempts.read()
    assert (left.ended, resumed.ended) == ("preempted", "done")
    assert 0 < left.rounds_at_end == resumed.rounds < ROUNDS, "its round was not finished, or was done again"
    assert left.ended_at - left.began < 60, "the deadline ended it"
    assert left.message == "its process, or its node, was told to leave"


def num_rounds(study):
    return sum(trial.finished_rounds() for trial in Ledger(study.results).trials())


def wait_until(there, process):
    give_up = time.monotonic() + LIMIT_S
    while not there():
        assert time.monotonic() < give_up, f"not in {LIMIT_S} s"
        assert process.poll() is None, f"the command ended with {process.returncode}"
        time.sleep(0.05)
