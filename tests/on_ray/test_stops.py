"""Stops of every kind, as a user meets them: the command in a process of its own, ended in the middle, run again."""

import itertools
import os
import signal
import time

import pytest
from runs import cli, facts, finish, last_json, spec, start, write_spec

from labelbench_ray.api import grid
from labelbench_ray.benchmark.run_folder import running
from labelbench_ray.benchmark.state import ROWS, Ledger
from labelbench_ray.config import Experiment

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SLOW = {  # rounds of seconds, so that there is a middle to stop in
    "trainer": {"name": "linear", "algorithm": "flexmatch", "min_steps": 1000},
    "strategy": ["random", "badge"],
    "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 4},
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Facts of an undisturbed run, in this process."""
    folder = tmp_path_factory.mktemp("quiet")
    experiment = Experiment.from_mapping(spec(**SLOW))
    return facts(grid.run(experiment, folder / "results", folder / "features", executor="in_process").results)


def test_ctrl_c_then_kill_then_run_goes_on(tmp_path, quiet):
    results = tmp_path / "results" / "small"
    process = run_until(tmp_path, num_rounds=1)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    assert "run the same command again to go on" in err
    assert "Traceback" not in err
    states = [trial.status().state for trial in Ledger(results).trials()]
    assert "interrupted" in states
    assert "running" not in states

    killed = run_until(tmp_path, num_rounds=num_rounds(results) + 1)
    killed.kill()
    killed.communicate()
    finished = {path: path.stat().st_mtime_ns for path in results.glob(f"trials/*/rounds/*/{ROWS}")}
    assert finished

    code, out, err = cli(tmp_path, "run", tmp_path / "experiment.yaml", "--num-cpus", "2", "--json")
    assert code == 0, err
    assert last_json(out)["failed"] == []
    assert facts(results) == quiet
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items()), "a round was done again"

    code, _, err = cli(tmp_path, "run", tmp_path / "experiment.yaml", "--num-cpus", "2")
    assert code == 0
    assert "nothing to do: all 2 trials are done" in err


def run_until(folder, num_rounds):
    """Start the command and return it as soon as so many rounds are on disk."""
    process = start(folder, "run", write_spec(folder, **SLOW), "--num-cpus", "2")
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        if num_rounds_in(folder) >= num_rounds:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the rounds were not finished in three minutes")


def num_rounds_in(folder):
    return num_rounds(folder / "results" / "small")


def num_rounds(results):
    return sum(trial.finished_rounds() for trial in Ledger(results).trials())


@pytest.mark.slow
def test_two_drivers_on_one_folder_share_its_trials_and_a_stop_from_elsewhere_stops_both(tmp_path, quiet):
    results = tmp_path / "results" / "small"
    write_spec(tmp_path, **SLOW)
    code, _, err = cli(tmp_path, "embed", tmp_path / "experiment.yaml", "--executor", "in_process")
    assert code == 0, err
    words = ("run", tmp_path / "experiment.yaml", "--num-cpus", "1")
    both = [start(tmp_path, *words), start(tmp_path, *words)]
    wait_for(lambda: num_rounds(results) >= 1 and len(running(results)) == 2, both)
    code, _, err = cli(tmp_path, "stop", results)
    assert (code, err.count("asked process")) == (0, 2)
    assert [finish(process)[0] for process in both] == [130, 130]
    assert "running" not in [trial.status().state for trial in Ledger(results).trials()]

    ended = [finish(process) for process in [start(tmp_path, *words), start(tmp_path, *words)]]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert facts(results) == quiet
    for trial in Ledger(results).trials():
        attempts = trial.attempts.read()
        assert [one.ended for one in attempts][-1] == "done"
        assert all(one.ended_at <= other.began for one, other in itertools.pairwise(attempts)), "two at a time"


def wait_for(holds, processes):
    give_up = time.monotonic() + 150
    while not holds():
        assert time.monotonic() < give_up
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
