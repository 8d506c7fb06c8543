"""The live view: one picture on a terminal, few plain lines off it."""

import io
import re

import pytest

from labelbench_ray.execution.progress import Event
from labelbench_ray.execution.terminal import Terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _a_usual_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def event(what, trial="t", **more):
    return Event(trial=trial, name="badge seed 0", what=what, **more)


def shown(*events, trials=3, rounds=4):
    out = Screen()
    with Terminal("select", trials=trials, rounds=rounds, stream=out) as terminal:
        for one in events:
            terminal(one)
    return out.getvalue()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_plain_lines_off_a_terminal_are_few_and_tell_the_time_left():
    out, clock = io.StringIO(), Clock()
    with Terminal("select", trials=2, rounds=10, stream=out, clock=clock) as terminal:
        for _ in range(5):
            clock.now += 4.0
            terminal(event("round", num_labeled=20, test_accuracy=0.5))
        terminal(event("done"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "select: 2 trials, 10 rounds"
    assert lines[1] == "select: 0/2 trials, 3/10 rounds, 12 s, 15 rounds/min, about 28 s left"
    assert lines[2].startswith("select: 1/2 trials, 5/10 rounds")
    assert len(lines) == 3
    assert "\x1b" not in out.getvalue()


def test_a_failure_is_told_at_once_with_its_reason():
    out = io.StringIO()
    with Terminal("select", trials=2, rounds=10, stream=out) as terminal:
        terminal(event("failed", error="no label left"))
        assert "badge seed 0: failed: no label left" in out.getvalue()
    assert "1 failed" in out.getvalue()


def test_a_terminal_shows_trials_by_state_rounds_retries_and_the_last_events():
    told = plain(shown(
        event("started"), event("round", num_labeled=20, test_accuracy=0.875),
        event("done", "u"), event("retry", "v", error="its process died"),
    ))  # fmt: skip
    assert "1/4 rounds" in told
    assert "trials: 1 waiting, 1 running, 1 done, 1 tried again" in told
    assert "badge seed 0 @20: 87.5%" in told
    assert "badge seed 0: retry: its process died" in told


def test_a_name_with_brackets_is_shown_as_it_is():
    assert "[bold]" in plain(shown(event("failed", error="a [bold] word")))


def test_colours_are_left_out_when_asked(monkeypatch):
    assert re.search(r"\x1b\[[0-9;]*3[0-7]", shown(event("done")))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown(event("done")))


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown(event("done"))
