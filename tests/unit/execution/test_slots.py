"""Slots take trials in the order of the list, wait for none while others are free, and end when nothing is."""

import pytest
from jobs import Rounds, make_job

from labelbench_ray.config import Limits
from labelbench_ray.errors import LedgerError, WorkerLostError
from labelbench_ray.execution.attempt import run_job
from labelbench_ray.execution.slots import Stock, work


@pytest.fixture
def jobs(tmp_path):
    return [make_job(tmp_path, seed=seed) for seed in range(4)]


def stock_of(jobs):
    return Stock.of(jobs, lambda job: lambda: job)


def try_here(job):
    return run_job(job, None, None)


def order(events, what="done"):
    return [event.name for event in events if event.what == what]


def test_trials_are_taken_in_order_and_all_are_done(jobs, monkeypatch):
    Rounds().use(monkeypatch)
    assert order(work(stock_of(jobs), try_here)) == [job.name for job in jobs]
    assert list(work(stock_of(jobs), try_here)) == []


def test_what_another_process_has_is_passed_over_and_taken_when_it_is_free(jobs, monkeypatch):
    Rounds().use(monkeypatch)
    with jobs[0].ledger.lock():
        events = work(stock_of(jobs), try_here)
        first = next(event for event in events if event.what == "done")
        assert first.name == jobs[1].name
    assert order(events) == [jobs[0].name, jobs[2].name, jobs[3].name], "the first of the list is looked at again"


def test_a_slot_ends_when_others_have_all_that_is_left(jobs, monkeypatch):
    Rounds().use(monkeypatch)
    with jobs[3].ledger.lock():
        assert order(work(stock_of(jobs), try_here)) == [job.name for job in jobs[:3]]


def test_a_trial_that_waits_keeps_nobody_from_the_others(jobs, monkeypatch):
    lost = []

    def once(trial, index):
        if trial.seed == 0 and not lost:
            lost.append(index)
            raise WorkerLostError("an actor died")

    Rounds(before=once).use(monkeypatch)
    patient = [make_job(job.results, seed=job.trial.seed, limits=Limits(wait_s=0.3)) for job in jobs]
    events = list(work(stock_of(patient), try_here))
    assert order(events, "retry") == [jobs[0].name]
    assert order(events) == [jobs[1].name, jobs[2].name, jobs[3].name, jobs[0].name]


def test_a_slot_does_not_wait_long(jobs, monkeypatch):
    Rounds(before=lambda trial, _: (_ for _ in ()).throw(WorkerLostError("x"))).use(monkeypatch)
    patient = [make_job(job.results, seed=job.trial.seed, limits=Limits(wait_s=1000.0)) for job in jobs]
    events = list(work(stock_of(patient), try_here))
    assert order(events, "retry") == [job.name for job in jobs]


def test_one_failure_does_not_sink_the_others(jobs, monkeypatch):
    Rounds(before=lambda trial, _: 1 / (trial.seed - 1)).use(monkeypatch)
    events = list(work(stock_of(jobs), try_here))
    assert order(events, "failed") == [jobs[1].name]
    assert len(order(events)) == 3


def test_nothing_is_begun_once_the_run_starts_no_more(jobs, monkeypatch):
    Rounds(after=lambda trial, index: jobs[0].run.start_no_more("enough")).use(monkeypatch)
    assert order(work(stock_of(jobs), try_here)) == [jobs[0].name], "the running one is finished"


def test_nothing_is_begun_by_a_process_that_was_told_to_leave(jobs, monkeypatch):
    Rounds().use(monkeypatch)
    assert list(work(stock_of(jobs), try_here, told_to_leave=lambda: True)) == []


def test_a_disk_that_takes_no_state_fails_each_trial_once(jobs):
    def full(job):
        raise LedgerError("results", "cannot be written (No space left on device)", "free space")
        yield

    events = list(work(stock_of(jobs), full))
    assert order(events, "failed") == [job.name for job in jobs]
    assert all("No space left" in event.error for event in events)
