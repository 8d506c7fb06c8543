import io

from labelbench_ray.execution.progress import Event, Terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Screen(io.StringIO):
    def isatty(self):
        return True


def event(what, **more):
    return Event(trial="t", name="badge seed 0", what=what, **more)


def test_plain_lines_off_a_terminal_are_few_and_tell_the_time_left():
    out, clock = io.StringIO(), Clock()
    with Terminal("select", trials=2, rounds=10, stream=out, clock=clock) as terminal:
        for _ in range(5):
            clock.now += 4.0
            terminal(event("round", num_labeled=20, test_accuracy=0.5))
        terminal(event("done"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "select: 2 trials, 10 rounds"
    assert lines[1] == "select: 0/2 trials, 3/10 rounds, 12 s, about 28 s left"
    assert lines[-1].startswith("select: 1/2 trials, 5/10 rounds")


def test_a_failure_is_told_at_once_with_its_reason():
    out = io.StringIO()
    with Terminal("select", trials=2, rounds=10, stream=out) as terminal:
        terminal(event("failed", error="no label left"))
        assert "badge seed 0: failed: no label left" in out.getvalue()
    assert "1 failed" in out.getvalue()


def test_a_terminal_shows_trials_and_the_current_metric():
    out = Screen()
    with Terminal("select", trials=2, rounds=4, stream=out) as terminal:
        terminal(event("round", num_labeled=20, test_accuracy=0.875))
    assert "badge seed 0 @20: 87.5%" in out.getvalue()
    assert "1/4" in out.getvalue()
