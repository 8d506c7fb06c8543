"""Disks and servers of files that do not answer (EIO, ESTALE): what is tried again, and what a user is told."""

import errno
import os
from pathlib import Path

import pytest
from dataset_files import write_features
from jobs import Rounds, make_job, whats
from runs import write_spec

from labelbench_ray.benchmark.retries import patiently
from labelbench_ray.config import Limits
from labelbench_ray.errors import LedgerError
from labelbench_ray.execution.driving import run_all
from labelbench_ray.execution.in_process import InProcess
from labelbench_ray.storage.on_disk import OnDisk

SOON = Limits(wait_s=0.001, storage_lost=2)
FEW = {
    "dataset": {"name": "features", "path": "vectors.npz"},
    "encoder": None,
    "strategy": "random",
    "schedule": {"initial": 4, "labels_per_round": 2, "rounds": 2},
    "limits": {"storage_lost": 2, "wait_s": 0.001},
}


@pytest.fixture
def silence(monkeypatch):
    """Let a method of disks fail where `when(name)` says so, so many times; what it was asked then."""

    def silence_it(method, when=lambda name: True, times=10**9, number=errno.ESTALE):
        asked, real = [], getattr(OnDisk, method)

        def silent(self, name, *args, **kwargs):
            if when(name) and len(asked) < times:
                asked.append(name)
                raise OSError(number, os.strerror(number), f"{self.where}/{name}")
            return real(self, name, *args, **kwargs)

        monkeypatch.setattr(OnDisk, method, silent)
        return asked

    return silence_it


@pytest.fixture
def run(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_features(Path("vectors.npz"))
    return lambda: call("run", write_spec(tmp_path, **FEW), "--executor", "in_process")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_rows_that_could_not_be_written_are_written_when_the_trial_is_tried_again(run, silence, number):
    asked = silence("create", lambda name: name.endswith("rows.parquet"), times=2, number=number)
    code, _, err = run()
    assert code == 0
    assert len(asked) == 2
    assert err.count(": retry: ") == 2
    assert os.strerror(number) in err


def test_rows_that_could_not_be_written_too_often_fail_the_trial_until_the_next_run(run, silence):
    silence("create", lambda name: name.endswith("rows.parquet"), times=3)
    code, _, err = run()
    assert code == 1
    assert "Traceback" not in err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert "a disk or server of files did not answer 3 times; results " in failed[0]
    assert "cannot be written (Stale file handle)" in failed[0]
    assert run()[0] == 0


def test_a_folder_that_does_not_answer_at_the_start_is_the_machine_s_fault_in_one_line(run, silence):
    silence("read", lambda name: name == "status.json", number=errno.EIO)
    Path("results/small/trials").mkdir(parents=True)
    code, out, err = run()
    assert (code, out) == (3, "")
    assert err.count("\n") == 1, err
    assert err.startswith("error: results/small/trials/")
    assert "status.json: Input/output error; " in err


def test_a_driver_and_its_slots_look_again_where_the_state_of_a_trial_cannot_be_read(tmp_path, silence, monkeypatch):
    Rounds().use(monkeypatch)
    events, job = [], make_job(tmp_path, limits=SOON)
    asked = silence("read", lambda name: name == "status.json", times=2)
    run_all([job], InProcess(), events.append, lambda _: None)
    assert len(asked) == 2
    assert whats(events)[-1] == "done"


def test_rows_that_cannot_be_got_now_are_not_called_spoilt(tmp_path, silence, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path)
    run_all([job], InProcess(), lambda _: None, lambda _: None)
    silence("read", lambda name: name.endswith("rows.parquet"), number=errno.EIO)
    with pytest.raises(LedgerError, match=r"cannot be read \(Input/output error\); look at that disk or store") as told:
        job.ledger.rows()
    assert "delete" not in str(told.value)


def test_patience_ends(monkeypatch):
    asked = []

    def silent():
        asked.append(1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output error"):
        patiently(silent, SOON)
    assert len(asked) == 1 + SOON.storage_lost


def test_what_is_no_silence_is_not_asked_again():
    asked = []

    def missing():
        asked.append(1)
        raise FileNotFoundError(errno.ENOENT, "nothing")

    with pytest.raises(FileNotFoundError):
        patiently(missing, SOON)
    assert asked == [1]
