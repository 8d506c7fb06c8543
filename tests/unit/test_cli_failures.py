"""What a user is told, and with which exit code, when a grid meets a full disk, too many failures or a stop."""

import errno
import json
import os

import pyarrow.parquet as pq
import pytest
from runs import start, write_spec
from test_cli import TINY, one_line

from labelbench_ray.benchmark.attempts import Attempts
from labelbench_ray.benchmark.run_folder import new_run
from labelbench_ray.errors import LedgerError

NO_PATIENCE = {"full_disk": 1, "wait_s": 0.01}
DIVERGING = {"name": "linear", "optimizer": "sgd", "learning_rate": 1e30}


pytestmark = pytest.mark.usefixtures("elsewhere")


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_of_ours(attempts, told):
    raise LedgerError(attempts._place.where, "cannot be written (No space left on device)", "free space")


def test_a_full_disk_is_tried_again_then_told_and_mended_by_running_again(call, tmp_path, monkeypatch):
    file = write_spec(tmp_path, **TINY | {"limits": NO_PATIENCE})
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        code, _, err = call("run", file, "--executor", "in_process")
    assert code == 1
    assert "Traceback" not in err
    assert err.count(": retry: ") == 2
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert all(
        "the disk was full 2 times" in line and "(No space left on device); free space" in line for line in failed
    )
    code, _, err = call("run", file, "--executor", "in_process")
    assert code == 0, err


def test_a_disk_that_takes_not_even_the_state_of_a_trial_ends_each_trial_with_the_reason(call, tmp_path, monkeypatch):
    file = write_spec(tmp_path, **TINY)
    with monkeypatch.context() as patch:
        patch.setattr(Attempts, "_append", full_of_ours)
        code, _, err = call("run", file, "--executor", "in_process")
    assert code == 1
    assert "Traceback" not in err
    assert err.count("\nfailed: ") == 2
    assert "attempts: cannot be written (No space left on device); free space" in err


def test_a_grid_with_too_many_failures_ends_early_with_1_and_says_so(call, tmp_path):
    changes = TINY | {"trainer": [DIVERGING, "linear"], "limits": {"max_failed_trials": 0}}
    code, _, err = call("run", write_spec(tmp_path, **changes), "--executor", "in_process")
    assert code == 1
    told = "1 trials failed and `limits.max_failed_trials` is 0: running trials are finished, no new one is started"
    assert told in err
    assert err.count("\nfailed: ") == 1
    assert len(list((tmp_path / "results" / "small" / "trials").iterdir())) == 1


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"process_die": 3}, "limits: unknown key 'process_die'. Did you mean: process_died?"),
        ({"worker_lost": -1}, "worker_lost"),
        ({"wait_s": 0}, "wait_s"),
    ],
)
def test_a_mistake_in_the_limits_ends_with_2_in_one_line(call, tmp_path, limits, told):
    code, out, err = call("plan", write_spec(tmp_path, **TINY | {"limits": limits}))
    assert (code, out) == (2, "")
    assert told in one_line(err)


def test_stop_asks_what_runs_and_says_when_nothing_does(call, tmp_path):
    results = tmp_path / "results"
    run = new_run(results)
    with run.driven():
        code, out, err = call("stop", results)
        assert (code, out) == (0, "")
        assert f"asked process {os.getpid()} of " in one_line(err)
        assert run.asked_to_stop
    assert json.loads((run.place.scratch / "stop").read_text())["why"] == "labelbench stop"
    assert call("stop", results) == (0, "", f"nothing runs in {results}\n")


def test_a_run_goes_on_when_nobody_reads_what_it_tells(tmp_path):
    run = start(tmp_path, "run", write_spec(tmp_path, **TINY), "--executor", "in_process")
    run.stderr.close()
    out = run.stdout.read()
    run.stdout.close()
    assert run.wait(timeout=120) == 0
    assert "margin" in out
    assert (tmp_path / "results" / "small" / "report.html").is_file()
