"""The driver has its jobs run until each is done or given up, whoever else works on the folder."""

import contextlib
import multiprocessing

import pytest
from jobs import Rounds, make_job

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Limits
from labelbench_ray.errors import PlatformError, WorkerLostError
from labelbench_ray.execution import driving
from labelbench_ray.execution.attempt import run_job
from labelbench_ray.execution.driving import run_all
from labelbench_ray.execution.slots import Stock, work


class Here:
    """An executor of one slot in this process."""

    def __init__(self):
        self.runs = 0

    def run(self, jobs, watch):
        self.runs += 1
        for event in work(Stock.of(jobs, lambda job: lambda: job), lambda job: run_job(job, None, None)):
            watch(event)


class Nothing:
    """An executor whose processes do not start."""

    def run(self, jobs, watch):
        pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(driving, "ASK_AGAIN_S", 0.02)


def test_jobs_are_run_and_their_events_told(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    jobs, heard = [make_job(tmp_path, seed=seed) for seed in range(3)], []
    run_all(jobs, Here(), heard.append, lambda _: None)
    assert [event.what for event in heard].count("done") == 3
    here = Here()
    run_all(jobs, here, heard.append, lambda _: None)
    assert here.runs == 0, "nothing was left"


def test_trials_of_another_run_are_waited_for_and_taken_over_when_it_ends(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    jobs, heard, told = [make_job(tmp_path, seed=seed) for seed in range(2)], [], []
    other = contextlib.ExitStack()
    other.enter_context(jobs[1].ledger.lock())

    def tell(message):
        told.append(message)
        other.close()  # the other run ends once this one waits for it

    run_all(jobs, Here(), heard.append, tell)
    assert told[0].startswith(
        "waiting for 1 trials that another run of this folder has (margin seed 1 is run by process"
    )
    assert [event.name for event in heard if event.what == "done"] == ["margin seed 0", "margin seed 1"]


def test_a_long_wait_before_trying_again_holds_no_slot(tmp_path, monkeypatch):
    lost = []

    def once(trial, index):
        if not lost:
            lost.append(index)
            raise WorkerLostError("an actor died")

    Rounds(before=once).use(monkeypatch)
    monkeypatch.setattr("labelbench_ray.execution.slots.PATIENCE_S", 0.0)
    here, heard = Here(), []
    run_all([make_job(tmp_path, limits=Limits(wait_s=0.2))], here, heard.append, lambda _: None)
    assert [event.what for event in heard] == ["started", "retry", "started", "round", "round", "round", "done"]
    assert here.runs == 2


def test_a_cluster_that_starts_no_process_is_told_and_not_asked_for_ever(tmp_path):
    with pytest.raises(PlatformError, match="no process of a trial could be started"):
        run_all([make_job(tmp_path)], Nothing(), lambda _: None, lambda _: None)


def test_a_run_that_starts_no_more_leaves_the_rest(tmp_path, monkeypatch):
    jobs = [make_job(tmp_path, seed=seed) for seed in range(3)]
    Rounds(before=lambda trial, index: jobs[0].run.start_no_more("enough")).use(monkeypatch)
    heard = []
    run_all(jobs, Here(), heard.append, lambda _: None)
    assert [event.name for event in heard if event.what == "done"] == ["margin seed 0"]


def test_two_drivers_share_a_folder_and_run_nothing_twice(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        done = pool.starmap(_drive, [(tmp_path, "first"), (tmp_path, "second")])
    assert sorted(name for names in done for name in names) == sorted(f"margin seed {seed}" for seed in range(12))
    trials = Ledger(tmp_path).trials()
    assert len(trials) == 12
    assert all(trial.status().state == "done" for trial in trials)
    assert all(len(trial.attempts.read()) == 1 for trial in trials)


def _drive(results, run):
    """What a driver's events say was done by it."""
    heard = []
    with pytest.MonkeyPatch.context() as patch:
        Rounds(before=lambda trial, index: __import__("time").sleep(0.01)).use(patch)
        patch.setattr(driving, "ASK_AGAIN_S", 0.02)
        run_all([make_job(results, seed=seed, run=run) for seed in range(12)], Here(), heard.append, lambda _: None)
    return [event.name for event in heard if event.what == "done"]
