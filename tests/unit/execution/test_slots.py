"""Slots take trials in the order of the list, wait for none while others are free, and end when nothing is."""

import errno
import os

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
    patient = [make_job(job.results, seed=job.trial.seed, limits=Limits(wait_s=1.5)) for job in jobs]
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


def spoilt(number):
    """What is raised where not even the state of a trial can be written."""
    error = LedgerError("results", f"cannot be written ({os.strerror(number)})", "free space")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


def limited(jobs, **limits):
    return [make_job(job.results, seed=job.trial.seed, limits=Limits(wait_s=0.001, **limits)) for job in jobs]


def test_a_disk_that_takes_no_state_is_tried_again_once_for_all_trials_and_then_fails_each(jobs):
    def full(job):
        raise spoilt(errno.ENOSPC)
        yield

    events = list(work(stock_of(limited(jobs, full_disk=2)), full))
    assert [(event.name, event.reason) for event in events if event.what == "retry"] == [
        (jobs[0].name, "full disk")
    ] * 2
    assert order(events, "failed") == [job.name for job in jobs]
    assert all("No space left" in event.error for event in events)


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "full disk"), (errno.ESTALE, "storage lost")])
def test_what_could_not_be_written_for_a_while_is_done_once_it_can(jobs, monkeypatch, number, reason):
    Rounds().use(monkeypatch)
    left = [spoilt(number), OSError(number, os.strerror(number), "results")]

    def for_a_while(job):
        if left:
            raise left.pop()
        yield from try_here(job)

    events = list(work(stock_of(limited(jobs)), for_a_while))
    assert [event.reason for event in events if event.what == "retry"] == [reason] * 2
    assert order(events) == [job.name for job in jobs]


def test_a_slot_that_waits_for_space_leaves_when_it_is_told_to(jobs):
    def full(job):
        jobs[0].run.ask_to_stop("enough")
        raise spoilt(errno.ENOSPC)
        yield

    patient = [make_job(job.results, seed=job.trial.seed, limits=Limits(wait_s=1000.0)) for job in jobs]
    assert order(work(stock_of(patient), full), "retry") == [jobs[0].name]


def test_a_mistake_that_cannot_be_written_is_not_tried_again(jobs):
    def mistaken(job):
        raise LedgerError("results", "not readable", "delete it")
        yield

    assert order(work(stock_of(jobs), mistaken), "failed") == [job.name for job in jobs]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_round_that_lost_its_storage_is_tried_again_and_after_too_often_fails_with_that_reason(
    jobs, monkeypatch, number
):
    Rounds(before=lambda trial, _: (_ for _ in ()).throw(OSError(number, os.strerror(number), "x"))).use(monkeypatch)
    events = list(work(stock_of(limited(jobs[:1], storage_lost=2)), try_here))
    assert [event.reason for event in events if event.what == "retry"] == ["storage lost"] * 2
    told = f"a disk or server of files did not answer 3 times; x: {os.strerror(number)}"
    assert [event.error for event in events if event.what == "failed"] == [told]


def test_there_is_more_for_a_slot_as_long_as_a_trial_is_free_and_the_run_goes_on(jobs, monkeypatch):
    Rounds().use(monkeypatch)
    stock = stock_of(jobs[:1])
    with jobs[0].ledger.lock():
        assert not stock.has_more, "what another process has is not for a slot"
    assert stock.has_more
    list(work(stock, try_here))
    assert not stock.has_more
    assert stock_of(jobs).has_more
    jobs[1].run.ask_to_stop("enough")
    assert not stock_of(jobs).has_more
