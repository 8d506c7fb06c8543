"""What other drivers do with trials of a stage is seen in the folder, and shown."""

import io

import pytest
from jobs import Rounds, make_job

from labelbench_ray.benchmark.run_folder import RunFolder
from labelbench_ray.errors import LedgerError
from labelbench_ray.execution.attempt import run_job
from labelbench_ray.execution.elsewhere import LOOK_EVERY_S, Elsewhere, Seen
from labelbench_ray.execution.progress import Event
from labelbench_ray.execution.terminal import Terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Four: one done by another driver, one that it runs, one that it failed, one that waits."""
    Rounds().use(monkeypatch)
    made = [make_job(tmp_path, seed=seed) for seed in range(4)]
    list(run_job(make_job(tmp_path, seed=0, run="second"), None, None))
    made[1].ledger.mark("running")
    made[2].ledger.mark("failed", "no class has an example")
    with made[1].ledger.lock():
        yield made


def test_trials_of_another_driver_are_seen_now_and_then(tmp_path, jobs):
    clock = Clock()
    elsewhere = Elsewhere(jobs, [0] * 4, clock)
    with RunFolder(tmp_path / "runs" / "second").driven():
        assert elsewhere.look() == Seen()
        clock.now += LOOK_EVERY_S
        assert elsewhere.look() == Seen(running=1, done=1, rounds=jobs[0].num_rounds)
    clock.now += LOOK_EVERY_S
    assert elsewhere.look().done == 1, "what it finished counts also when it is gone"


def test_a_driver_alone_looks_at_no_trial_but_at_the_end_at_those_it_did_not_run(jobs):
    clock = Clock()
    elsewhere = Elsewhere(jobs, [0] * 4, clock)
    clock.now += LOOK_EVERY_S
    assert elsewhere.look() == Seen()
    elsewhere.heard(Event(trial=jobs[0].trial.id, name="margin seed 0", what="done"))
    assert elsewhere.look(at_the_end=True) == Seen(running=1, done=0, rounds=0)


def test_a_folder_that_does_not_answer_changes_nothing(jobs, monkeypatch):
    elsewhere = Elsewhere(jobs, [0] * 4)
    before = elsewhere.look(at_the_end=True)

    def broken(*_):
        raise LedgerError("results", "cannot be read", "look at that disk")

    monkeypatch.setattr("labelbench_ray.execution.elsewhere.Ledger", broken)
    assert elsewhere.look(at_the_end=True) == before != Seen()


def test_the_terminal_counts_them_where_they_stand():
    out = io.StringIO()
    with Terminal("select", trials=10, rounds=30, stream=out, others=lambda: Seen(2, 3, 11)) as terminal:
        terminal(Event(trial="a", name="a", what="round"))
        told = terminal._counts().plain
    assert told == "  trials: 4 waiting, 1 running, 3 done, 2 running elsewhere"
    assert "select: 3/10 trials, 12/30 rounds, 2 running elsewhere, " in out.getvalue()


def test_the_pace_is_that_of_all_drivers_and_the_time_left_what_that_leaves():
    out, clock = io.StringIO(), Clock()
    with Terminal("select", trials=4, rounds=20, stream=out, clock=clock, others=lambda: Seen(1, 0, 6)) as terminal:
        for _ in range(6):
            clock.now += 10.0
            terminal(Event(trial="a", name="a", what="round"))
        assert terminal._times() == "1 min, 12 rounds/min, about 40 s left"
    with Terminal("select", trials=4, rounds=20, stream=out, clock=clock, others=lambda: Seen(0, 3, 14)) as terminal:
        for _ in range(6):
            clock.now += 10.0
            terminal(Event(trial="a", name="a", what="round"))
        assert "left" not in terminal._times()
