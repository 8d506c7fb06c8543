"""The same spec gives the same rows and bought ids, wherever and however it is run."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from runs import facts, spec

from labelbench_ray.api import grid
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

LIGHT = {"resources": {"cpus": 0.5}}


def run(tmp_path, name="results", executor="ray", features="features", **changes):
    experiment = Experiment.from_mapping(spec(**changes))
    return grid.run(experiment, tmp_path / name, tmp_path / features, executor=executor)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run in this process with one shard."""
    folder = tmp_path_factory.mktemp("reference")
    outcome = run(folder, executor="in_process")
    assert (outcome.num_ran, outcome.failed) == (5, [])
    return facts(outcome.results)


def test_trials_on_ray_equal_trials_in_process_and_a_second_run_does_nothing(tmp_path, reference):
    outcome = run(tmp_path)
    assert (outcome.num_ran, outcome.num_skipped, outcome.failed) == (5, 0, [])
    assert facts(outcome.results) == reference
    again = run(tmp_path)
    assert (again.num_ran, again.num_skipped) == (0, 5)
    assert facts(again.results) == reference


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_selection_actors_change_nothing(tmp_path, reference, shards):
    # 0.1 of a processor each: eight shards and their trial fit on two.
    selection = {"tile_rows": 71, "shards": shards, "through": "actors", "cpus_per_shard": 0.1}
    outcome = run(tmp_path, selection=selection, strategy=["coreset", "badge", "galaxy"], **LIGHT)
    assert outcome.failed == []
    found = facts(outcome.results)
    assert found == {trial: reference[trial] for trial in found}
    assert len(found) == 3


def test_a_killed_trial_process_goes_on_from_its_last_round(tmp_path, reference):
    results = tmp_path / "results"
    victim = threading.Thread(target=kill_a_trial, args=(results,))
    victim.start()
    outcome = run(tmp_path, strategy=["badge", "margin"], schedule={"initial": 20, "labels_per_round": 15, "rounds": 3})
    victim.join()
    assert killed_pids, "no trial was killed"
    assert outcome.failed == []
    found = facts(results)
    assert found == {trial: reference[trial] for trial in found}
    assert len(found) == 2


killed_pids: list[int] = []


def kill_a_trial(results: Path) -> None:
    """kill -9 of the first trial process that has finished a round."""
    for _ in range(600):
        for trial in Ledger(results).trials():
            if trial.finished_rounds() >= 1 and trial.status().state == "running":
                pid = int((trial.folder / "lock").read_text() or 0)
                if pid and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
                    killed_pids.append(pid)
                    return
        time.sleep(0.02)


def test_one_failing_trial_does_not_sink_the_grid(tmp_path):
    schedule = [
        {"initial": 20, "labels_per_round": 15, "rounds": 2},
        {"initial": 5000, "labels_per_round": 1, "rounds": 1},
    ]
    outcome = run(tmp_path, strategy=["random", "margin"], schedule=schedule)
    assert len(outcome.failed) == 2
    assert all("lower `schedule.initial` from 5000" in reason for _, reason in outcome.failed)
    states = [trial.status().state for trial in Ledger(tmp_path / "results").trials()]
    assert sorted(states) == ["done", "done", "failed", "failed"]
