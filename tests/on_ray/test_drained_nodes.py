"""Nodes that will be taken away, as Ray is told by autoscalers and spot instances; and no node at all."""

import signal
import time

import pytest
import yaml
from benchmark_parts import part

from labelbench_ray.benchmark.state import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(250)]

LIMIT_S = 150
ROUNDS = 8


def test_a_trial_leaves_a_node_that_drains_after_its_round_and_goes_on_where_one_is_added(tmp_path):
    study = grid(tmp_path)
    with part("grid_nodes").started(1) as nodes:
        (drained,) = nodes.living
        run(study, nodes, then=lambda: (nodes.drain(drained, within_s=60), nodes.add()))
    assert_left_after_a_round_and_went_on(study)


@pytest.mark.slow
def test_a_trial_leaves_when_the_node_of_an_actor_of_its_group_drains(tmp_path):
    study = grid(tmp_path, strategy="margin", selection={"tile_rows": 64, "shards": 1, "through": "actors"})
    with part("grid_nodes").started(2) as nodes:

        def drain_the_other():
            (process,) = nodes.trial_processes()
            (other,) = [node for node in nodes.living if process not in nodes.processes_of(node)]
            nodes.drain(other, within_s=60)
            nodes.add()

        run(study, nodes, then=drain_the_other)
    assert_left_after_a_round_and_went_on(study)


@pytest.mark.slow
def test_a_grid_that_waits_for_its_first_node_can_be_stopped(tmp_path):
    study = grid(tmp_path, cluster={"cpus": 1, "at_most": 1})
    with part("grid_nodes").started(0) as nodes:
        process = study.start("--address", nodes.address)
        try:
            wait_until(lambda: "select: " in said(study), process)
            process.send_signal(signal.SIGINT)
            process.wait(30)
        finally:
            part("grid_study").end(process)
    assert process.returncode == 130, said(study)
    assert "run the same command again to go on" in said(study)


def grid(folder, **changes):
    """One trial of eight rounds."""
    study = part("grid_study").Study(folder=folder).write(1, rounds=ROUNDS, seconds=0.5)
    study.file.write_text(yaml.safe_dump({**yaml.safe_load(study.file.read_text()), **changes}))
    return study


def run(study, nodes, then):
    """To its end; something happens after the first round."""
    process = study.start("--address", nodes.address)
    try:
        wait_until(lambda: num_rounds(study), process)
        then()
        process.wait(LIMIT_S)
    finally:
        part("grid_study").end(process)
    assert process.returncode == 0, said(study)


def assert_left_after_a_round_and_went_on(study):
    (trial,) = Ledger(study.results).trials()
    left, resumed = trial.attempts.read()
    assert (left.ended, resumed.ended) == ("preempted", "done")
    assert 0 < left.rounds_at_end == resumed.rounds < ROUNDS, "its round was not finished, or was done again"
    assert left.message == "its process, or its node, was told to leave"


def num_rounds(study):
    return sum(trial.finished_rounds() for trial in Ledger(study.results).trials())


def said(study):
    return (study.folder / "run.err").read_text()


def wait_until(there, process):
    give_up = time.monotonic() + LIMIT_S
    while not there():
        assert time.monotonic() < give_up, f"not in {LIMIT_S} s"
        assert process.poll() is None, f"the command ended with {process.returncode}"
        time.sleep(0.05)
