"""What events add up to: where trials stand, pace, time left."""

import pytest

from labelbench_ray.execution.progress import Event, Tally, duration


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def event(what, trial="a", **more):
    return Event(trial=trial, name=f"badge of {trial}", what=what, **more)


def standings(*events, trials=3):
    tally = Tally(trials, 10)
    for one in events:
        tally(one)
    return {state: count for state, count in tally.standings.items() if count}


def test_trials_never_heard_of_wait():
    assert standings() == {"waiting": 3}


def test_a_trial_stands_where_its_last_event_puts_it():
    assert standings(event("started")) == {"waiting": 2, "running": 1}
    assert standings(event("round")) == {"waiting": 2, "running": 1}
    assert standings(event("round"), event("retry")) == {"waiting": 3}
    assert standings(event("retry"), event("started"), event("done")) == {"waiting": 2, "done": 1}
    assert standings(event("failed"), event("interrupted", "b"), event("done", "c")) == {
        "failed": 1, "interrupted": 1, "done": 1,
    }  # fmt: skip


def test_standings_come_in_the_order_that_people_ask_for():
    assert list(Tally(1, 1).standings) == ["waiting", "running", "done", "failed", "interrupted"]


def test_retries_are_counted_by_reason():
    tally = Tally(2, 4)
    for one in (event("retry", reason="out of memory"), event("retry", reason="out of memory"), event("retry")):
        tally(one)
    assert tally.retries == {"out of memory": 2, "process died": 1}


def test_time_left_is_that_of_the_rounds_left_at_the_pace_since_the_first_round():
    clock = Clock()
    tally = Tally(2, 10, clock)
    clock.now = 100.0  # processes start slowly; that is no pace
    tally(event("round"))
    assert (tally.seconds_a_round, tally.seconds_left) == (None, None)
    for _ in range(3):
        clock.now += 2.0
        tally(event("round"))
    assert tally.seconds_a_round == 2.0
    assert tally.seconds_left == 6 * 2.0


def test_rounds_that_failed_trials_left_undone_are_not_waited_for():
    tally = Tally(2, 10, Clock())
    tally(event("round"))
    tally(event("failed"))
    assert tally.rounds_left == 9
    tally(event("done", "b"))
    assert tally.rounds_left == 0


def test_more_rounds_than_expected_leave_nothing_not_less():
    tally = Tally(1, 1, Clock())
    tally(event("round"))
    tally(event("round"))
    assert tally.seconds_left == 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (42, "42 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (18720, "5 h 12 min"),
     (183600, "2 d 3 h"), (-1, "0 s")],
)  # fmt: skip
def test_durations_are_told_in_two_units_at_most(seconds, told):
    assert duration(seconds) == told
