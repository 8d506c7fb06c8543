"""One attempt at a trial: what is left behind by every way in which it can end."""

import contextlib
import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import ROUNDS, Rounds, make_job, run, whats
from runs import facts

from labelbench_ray.benchmark.lease import Lease
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Limits
from labelbench_ray.errors import LedgerError, MemoryExhaustedError, TrainingError, TrialLockedError, WorkerLostError
from labelbench_ray.execution import attempt
from labelbench_ray.execution.attempt import look_at, note_lost_process
from labelbench_ray.execution.endings import Ending

TESTS = Path(__file__).parents[2]
FINETUNE = {"trainer": {"name": "finetune", "train_batch_size": 12}, "encoder": {"name": "pixels"}}


def ends(job):
    return [(one.ended, one.final) for one in job.ledger.attempts.read()]


def until_done(job, most=50):
    """Try it until it is done or given up; the events of each try."""
    for _ in range(most):
        if look_at(job.ledger, job.run.name, job.limits).what in {"done", "given up"}:
            return
        yield run(job)
        time.sleep(0.002)
    raise AssertionError(f"not done after {most} tries")


def raising(error, at_round=1):
    def before(trial, index):
        if index == at_round:
            raise error

    return before


def test_a_quiet_trial_is_one_attempt_that_is_done(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path)
    events = run(job)
    assert whats(events) == ["started", *["round"] * ROUNDS, "done"]
    assert [event.is_last for event in events[1:-1]] == [False, False, True]
    assert ends(job) == [("done", False)]
    assert look_at(job.ledger, job.run.name, job.limits).what == "done"
    assert run(job) == []


def test_a_user_error_is_a_failure_at_once_that_says_why(tmp_path, monkeypatch):
    Rounds(before=raising(TrainingError("linear", "the loss is NaN", "lower it"))).use(monkeypatch)
    job = make_job(tmp_path)
    events = run(job)
    assert whats(events) == ["started", "round", "failed"]
    assert (events[-1].reason, events[-1].error) == ("user error", "trainer linear: the loss is NaN; lower it")
    assert (job.ledger.status().state, job.ledger.status().finished_rounds) == ("failed", 1)
    assert look_at(job.ledger, job.run.name, job.limits).what == "given up"
    assert run(job) == [], "it is not tried again in this run"
    Rounds().use(monkeypatch)
    assert whats(run(make_job(tmp_path, run="second"))) == ["started", "round", "round", "done"]


def test_an_error_of_ours_names_its_type(tmp_path, monkeypatch):
    Rounds(before=raising(KeyError("gone"))).use(monkeypatch)
    assert run(make_job(tmp_path))[-1].error == "KeyError: 'gone'"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WorkerLostError("an actor died"), "worker lost"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "full disk"),
    ],
    ids=str,
)
def test_what_the_machine_did_waits_is_tried_again_and_is_given_up_in_the_end(tmp_path, monkeypatch, error, kind):
    Rounds(before=raising(error)).use(monkeypatch)
    limits = Limits(worker_lost=1, full_disk=1, wait_s=0.001)
    job = make_job(tmp_path, limits=limits)
    first = run(job)
    assert whats(first) == ["started", "round", "retry"]
    assert first[-1].reason == kind
    assert "tried again in 0 s" in first[-1].error
    assert job.ledger.status().state == "interrupted"
    time.sleep(0.01)
    second = run(job)
    assert (second[-1].what, second[-1].reason) == ("failed", kind)
    assert ("2 times" if kind == "full disk" else "lost 2 times") in second[-1].error
    assert job.ledger.status().state == "failed"


def test_a_trial_that_waits_is_left_alone(tmp_path, monkeypatch):
    Rounds(before=raising(WorkerLostError("x"))).use(monkeypatch)
    job = make_job(tmp_path, limits=Limits(wait_s=1000.0))
    run(job)
    found = look_at(job.ledger, job.run.name, job.limits)
    assert found.what == "waiting"
    assert 100 < found.not_before - time.time() < 450
    assert run(job) == []


def test_memory_that_does_not_do_halves_the_pass_until_it_does(tmp_path, monkeypatch):
    seen = []

    def run_trial(trial, inputs, ledger):
        seen.append((inputs.micro_batch_size, trial.id))
        if (inputs.micro_batch_size or 12) > 3:
            raise MemoryExhaustedError("finetune", "the device has not enough memory for a step", "lower it")
        yield from Rounds().run(trial, inputs, ledger)

    Rounds().use(monkeypatch)
    monkeypatch.setattr(attempt, "run_trial", run_trial)
    job = make_job(tmp_path, **FINETUNE)
    for events in until_done(job):
        assert events == [] or events[-1].what in {"retry", "done"}
    assert [size for size, _ in seen] == [None, 6, 3]
    assert {trial for _, trial in seen} == {job.trial.id}, "the trial keeps its identity"
    assert [one.micro_batch_size for one in job.ledger.attempts.read()] == [None, 6, 3]
    assert "3 images of a batch at a time" in events[0].note


def test_a_single_image_that_does_not_fit_is_a_failure_with_the_advice(tmp_path, monkeypatch):
    error = MemoryExhaustedError("finetune", "the device has not enough memory for a step", "lower `train_batch_size`")
    Rounds(before=raising(error, at_round=0)).use(monkeypatch)
    job = make_job(tmp_path, **FINETUNE)
    told = [event for events in until_done(job) for event in events]
    assert told[-1].what == "failed"
    assert [one.micro_batch_size for one in job.ledger.attempts.read()] == [None, 6, 3, 1]
    assert "lower `train_batch_size`" in told[-1].error


def test_a_head_on_features_has_no_smaller_pass_and_fails_with_the_advice(tmp_path, monkeypatch):
    Rounds(before=raising(MemoryExhaustedError("linear", "too little memory", "use fewer views"))).use(monkeypatch)
    events = run(make_job(tmp_path))
    assert (events[-1].what, events[-1].reason) == ("failed", "out of memory")
    assert "use fewer views" in events[-1].error


def test_a_notice_to_leave_ends_after_the_round_and_counts_as_no_failure(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path, limits=Limits(process_died=0))
    events = run(job, told_to_leave=lambda: True)
    assert whats(events) == ["started", "round", "retry"]
    assert events[-1].reason == "preempted"
    assert job.ledger.status().finished_rounds == 1
    assert whats(run(job)) == ["started", "round", "round", "done"]


def test_a_notice_in_the_last_round_finds_the_trial_done(tmp_path, monkeypatch):
    told = []
    Rounds(after=lambda trial, index: told.append(index)).use(monkeypatch)
    assert whats(run(make_job(tmp_path), told_to_leave=lambda: len(told) == ROUNDS))[-1] == "done"


def test_a_run_that_is_asked_to_stop_ends_trials_after_their_round(tmp_path, monkeypatch):
    job = make_job(tmp_path)
    Rounds(after=lambda trial, index: job.run.ask_to_stop("SIGINT")).use(monkeypatch)
    events = run(job)
    assert whats(events) == ["started", "round", "interrupted"]
    assert job.ledger.status().state == "interrupted"
    assert ends(job) == [("interrupted", False)]


def test_whoever_stops_listening_leaves_an_interrupted_trial(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    for listened, job in [(1, make_job(tmp_path, seed=1)), (2, make_job(tmp_path, seed=2))]:
        with contextlib.closing(attempt.run_job(job, None, None)) as events:
            for _ in range(listened):
                next(events)
        assert (job.ledger.status().state, ends(job)) == ("interrupted", [("interrupted", False)])


def test_a_trial_of_another_process_is_not_touched(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path)
    with job.ledger.lock():
        assert look_at(job.ledger, job.run.name, job.limits).what == "held"
        with pytest.raises(TrialLockedError):
            run(job)
    assert job.ledger.attempts.read() == []


def test_a_process_that_lost_its_lease_writes_nothing_more(tmp_path, monkeypatch):
    job = make_job(tmp_path)

    def taken_over(trial, index):
        if index == 1:
            lease = Lease(job.ledger.folder / "lease")
            lease.revoke(lease.holder())

    Rounds(before=taken_over).use(monkeypatch)
    events = run(job)
    assert whats(events) == ["started", "round", "retry"]
    assert events[-1].reason == "lease lost"
    assert job.ledger.status().finished_rounds == 1
    assert ends(job) == [(None, False)], "how it ended is for the new holder to say"


def test_a_disk_that_cannot_take_the_state_is_told_by_the_error(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path)

    def full(*_):
        raise LedgerError("x", "cannot be written (No space left on device)", "free space")

    monkeypatch.setattr("labelbench_ray.benchmark.attempts.Attempts._append", full)
    with pytest.raises(LedgerError, match="No space left"):
        run(job)


STEPS = ["begin", "open_inputs", "before 0", "commit 0", "after 0", "before 2", "after 2", "end", "mark done"]

KILLED_AT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
from jobs import Rounds, make_job, run
from labelbench_ray.benchmark import state
from labelbench_ray.benchmark.attempts import Attempts
from labelbench_ray.execution import attempt
from labelbench_ray.storage.on_disk import OnDisk

class Patch:
    def setattr(self, where, name, value):
        setattr(where, name, value)

def die_at(step):
    def dies(here):
        if here == step:
            os._exit(9)

    def dying(where, name, here):
        real = getattr(where, name)
        def patched(*args, **kwargs):
            dies(here(*args, **kwargs))
            return real(*args, **kwargs)
        setattr(where, name, patched)

    Rounds(before=lambda _, index: dies(f"before {index}"), after=lambda _, index: dies(f"after {index}")).use(Patch())
    dying(attempt, "open_inputs", lambda *_: "open_inputs")
    dying(OnDisk, "create", lambda _, name, *rest, **more: name.replace("rounds/000", "commit ").partition("/")[0])
    dying(state.TrialLedger, "mark", lambda _, state, *rest: f"mark {state}")
    dying(Attempts, "begin", lambda *_: "begin")
    dying(Attempts, "end", lambda *_, **__: "end")
    run(make_job(Path(sys.argv[2]) / step))

for step in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        die_at(step)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A results folder for each step, left by a process that died there."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AT, TESTS, folder, *STEPS]
    died = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert died.stdout.split() == ["9"] * len(STEPS), died.stderr
    return folder


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_dies_at_any_step_leaves_what_goes_on_as_if_it_had_not(killed, tmp_path, monkeypatch, step):
    Rounds().use(monkeypatch)
    job = make_job(killed / step)
    told = [event for events in until_done(job) for event in events]
    run(make_job(tmp_path / "quiet"))
    assert facts(killed / step) == facts(tmp_path / "quiet")
    assert all(one.ended for one in job.ledger.attempts.read())
    if step not in {"begin", "mark done"}:  # not begun, or ended and not marked
        assert job.ledger.attempts.read()[0].ended == "process died"
        assert any(event.what == "retry" and event.reason == "process died" for event in told)
    assert [path for path in job.ledger.folder.rglob("*") if "draft" in path.name] == []


def test_a_process_that_always_dies_is_given_up_and_told(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path, limits=Limits(process_died=1, wait_s=0.001))
    for expected in ("retry", "failed"):
        job.ledger.attempts.begin(job.run.name, rounds=0)  # and then it died
        time.sleep(0.01)
        (event,) = run(job)
        assert (event.what, event.reason) == (expected, "process died")
    assert event.error == "its process died 2 times"
    assert job.ledger.status().state == "failed"


def test_a_trial_given_up_while_nobody_had_it_is_marked_by_whoever_looks(tmp_path, monkeypatch):
    Rounds().use(monkeypatch)
    job = make_job(tmp_path, limits=Limits(process_died=0))
    job.ledger.attempts.begin(job.run.name, rounds=0)
    job.ledger.attempts.end(0, "process died", rounds=0)
    assert look_at(job.ledger, job.run.name, job.limits).what == "free"
    assert whats(run(job)) == ["failed"]
    assert look_at(job.ledger, job.run.name, job.limits).what == "given up"


def test_what_ray_knows_of_a_death_is_noted(tmp_path):
    job = make_job(tmp_path)
    job.ledger.attempts.begin(job.run.name, rounds=0)
    event = note_lost_process(job, Ending("node lost", "its node died"))
    assert (event.what, event.reason) == ("retry", "node lost")
    assert ends(job) == [("node lost", False)]
    job.ledger.attempts.begin(job.run.name, rounds=0)
    job.ledger.attempts.end(1, "process died", rounds=0)  # another slot was faster, and could not know more
    assert note_lost_process(job, Ending("out of memory", "Ray ended it")) is None
    assert ends(job) == [("node lost", False), ("out of memory", False)]


def test_two_who_try_one_trial_at_a_time_never_run_it_together(tmp_path, monkeypatch):
    second = []

    def meanwhile(trial, index):
        with pytest.raises(TrialLockedError):
            run(replace(make_job(tmp_path), run=make_job(tmp_path, run="second").run))
        second.append(index)

    Rounds(before=meanwhile).use(monkeypatch)
    assert whats(run(make_job(tmp_path)))[-1] == "done"
    assert second == [0, 1, 2]
    assert len(Ledger(tmp_path).trials()) == 1
