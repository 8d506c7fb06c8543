"""Where a grid stands: from folders and journal, without opening a single Parquet file."""

import json
import os
import platform

import pyarrow.parquet as pq
import pytest
from ledgers import BUDGETS, write_trial
from trials import make_trial

from labelbench_ray.api.status import describe_grid, read_status
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.benchmark.writing import write_json
from labelbench_ray.errors import NoResultsError
from labelbench_ray.execution.journal import Journal
from labelbench_ray.execution.progress import Event
from labelbench_ray.storage.on_disk import OnDisk


def heard(results, trial, what, at=0.0, **more):
    Journal(results / "runs" / "r")(Event(trial=trial.trial_id, name="x", what=what, at=at, **more))


def only(results):
    (trial,) = read_status(results).trials
    return trial


def test_a_done_trial_is_told_with_its_parts_and_its_last_round(tmp_path):
    trial = write_trial(tmp_path, "badge", seed=2)
    heard(tmp_path, trial, "round", num_labeled=80, test_accuracy=0.8)
    heard(tmp_path, trial, "round", num_labeled=100, test_accuracy=0.9)
    now = only(tmp_path)
    assert (now.trial, now.name, now.kind, now.seed) == (trial.trial_id, "badge seed 2", "selection", 2)
    assert (now.state, now.finished_rounds) == ("done", len(BUDGETS))
    assert (now.num_labeled, now.test_accuracy) == (100, 0.9)
    assert now.labels["trainer"] == "linear"


def test_a_failed_trial_says_why(tmp_path):
    write_trial(tmp_path, state="failed", error="lower the learning rate")
    assert (only(tmp_path).state, only(tmp_path).error) == ("failed", "lower the learning rate")


def test_a_trial_that_a_process_holds_runs_and_one_that_nobody_holds_was_interrupted(tmp_path):
    trial = write_trial(tmp_path, budgets=[20, 40], state="running")
    assert only(tmp_path).state == "interrupted"
    with trial.lock():
        assert only(tmp_path).state == "running"


def test_attempts_are_told_with_their_ends_and_where_the_last_one_ran(tmp_path):
    trial = write_trial(tmp_path, budgets=[20, 40], state="running")
    first = trial.attempts.begin("run", 0)
    trial.attempts.end(first, "out of memory", 1, "the node was short of memory")
    trial.attempts.begin("run", 1)
    with trial.lock():
        now = only(tmp_path)
    assert (now.attempts, now.ends, now.error) == (2, ("out of memory",), "the node was short of memory")
    assert now.host == platform.node()
    assert now.since.startswith("20")


def test_retries_are_counted_by_what_the_machine_did(tmp_path):
    for seed, ends in enumerate([["preempted", "preempted", "done"], ["process died", "user error"], ["interrupted"]]):
        trial = write_trial(tmp_path, seed=seed)
        for end in ends:
            trial.attempts.end(trial.attempts.begin("run", 0), end, 0)
    assert read_status(tmp_path).retries == {"preempted": 2, "process died": 1}


def test_passwords_in_a_reason_are_left_out(tmp_path):
    write_trial(tmp_path, state="failed", error="no answer from https://me:hunter2@host/data")
    assert only(tmp_path).error == "no answer from https://***@host/data"


def test_trials_of_the_grid_that_have_not_begun_wait_under_their_names(tmp_path):
    trials = [make_trial(seed=seed) for seed in range(3)]
    write_json(OnDisk(tmp_path), "experiment.json", describe_grid("blobs", trials))
    now = read_status(tmp_path)
    assert now.experiment == "blobs"
    assert [(one.trial, one.name, one.state, one.rounds) for one in now.trials] == [
        (trial.id, f"margin seed {trial.seed}", "waiting", 4) for trial in trials
    ]
    Ledger(tmp_path).trial(trials[0].id).mark("done")
    now = read_status(tmp_path)
    assert now.counts == {"waiting": 2, "running": 0, "done": 1, "failed": 0, "interrupted": 0}
    assert len(now.trials) == 3


def test_time_left_is_the_rounds_left_of_all_unfinished_trials_at_the_pace_of_this_run(tmp_path):
    write_json(OnDisk(tmp_path), "experiment.json", describe_grid("blobs", [make_trial(seed=7)]))  # 4 rounds, not begun
    trial = write_trial(tmp_path, budgets=[20, 40, 60], state="running")
    trial.write_description({**trial.description(), "rounds": 5})
    journal = Journal(tmp_path / "runs" / "r")
    heard(tmp_path, trial, "round", at=0.0)
    journal.write("stage", stage="select", trials=2, rounds=9, at=500.0)  # what came before it was another run
    with trial.lock():
        heard(tmp_path, trial, "round", at=1000.0)
        assert read_status(tmp_path).seconds_left is None
        heard(tmp_path, trial, "round", at=1030.0)
        heard(tmp_path, trial, "round", at=1040.0)
        assert read_status(tmp_path).seconds_left == (4 + 2) * 20.0
    assert read_status(tmp_path).seconds_left is None, "nobody runs it now"


def test_a_driver_that_has_not_ended_its_run_is_named(tmp_path):
    write_trial(tmp_path)
    assert read_status(tmp_path).driver == ""
    journal = Journal(tmp_path / "runs" / "r")
    journal.write("began", experiment="made_up", trials=1, done=0, at=1.0)
    now = read_status(tmp_path)
    assert now.driver.endswith(f":{os.getpid()}")
    assert now.last_heard == "1970-01-01T00:00:01.000Z"
    journal.write("ended", state="done")
    assert read_status(tmp_path).driver == ""


def test_a_trial_killed_before_it_was_described_and_a_torn_journal_are_no_error(tmp_path):
    Ledger(tmp_path).trial("abc").mark("running")
    torn = tmp_path / "runs" / "r" / "run.jsonl"
    torn.parent.mkdir(parents=True)
    torn.write_text('{"time": "2026-01-01T00:00:00.000Z", "event": "rou')
    assert (only(tmp_path).trial, only(tmp_path).state) == ("abc", "interrupted")


def test_no_parquet_is_opened(tmp_path, monkeypatch):
    write_trial(tmp_path)
    for name in ("read_table", "ParquetFile", "read_schema"):
        monkeypatch.setattr(pq, name, lambda *_, **__: pytest.fail("opened a Parquet file"))
    assert only(tmp_path).finished_rounds == len(BUDGETS)


def test_a_folder_that_no_run_wrote_is_refused(tmp_path):
    with pytest.raises(NoResultsError, match="labelbench run"):
        read_status(tmp_path)


def test_a_folder_of_an_older_version_is_read(tmp_path):
    write_trial(tmp_path, "margin", seed=1)
    (tmp_path / "experiment.json").write_text(json.dumps({"name": "old", "trials": ["abc"]}))
    now = read_status(tmp_path)
    assert (now.experiment, [one.name for one in now.trials]) == ("old", ["margin seed 1"])
