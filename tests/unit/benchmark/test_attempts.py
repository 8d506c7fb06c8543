import os
import platform

import pytest

from labelbench_ray.benchmark.attempts import Attempts, open_attempt
from labelbench_ray.errors import LedgerError


@pytest.fixture
def attempts(tmp_path):
    return Attempts(tmp_path / "t" / "attempts")


def test_attempts_are_read_back_in_order(attempts):
    assert attempts.read() == []
    assert attempts.begin("a", rounds=0) == 0
    attempts.end(0, "worker lost", rounds=2, message="an actor died")
    assert attempts.begin("b", rounds=2, micro_batch_size=8) == 1
    first, second = attempts.read()
    assert (first.run, first.ended, first.message) == ("a", "worker lost", "an actor died")
    assert (first.rounds, first.rounds_at_end) == (0, 2)
    assert (first.host, first.pid) == (platform.node(), os.getpid())
    assert (second.micro_batch_size, second.ended) == (8, None)
    assert open_attempt([first]) is None
    assert open_attempt([first, second]) is second
    assert open_attempt([]) is None


def test_who_learns_more_of_an_end_later_is_believed(attempts):
    attempts.begin("a", rounds=0)
    attempts.end(0, "process died", rounds=1)
    attempts.end(0, "out of memory", rounds=1, message="Ray ended it")
    (attempt,) = attempts.read()
    assert (attempt.ended, attempt.message) == ("out of memory", "Ray ended it")


def test_two_who_note_at_the_same_time_are_both_heard(attempts, monkeypatch):
    attempts.begin("a", rounds=0)
    seen_before = attempts._names()
    attempts.end(0, "process died", rounds=1)
    monkeypatch.setattr(attempts, "_names", lambda: seen_before)
    attempts.end(0, "out of memory", rounds=1)
    monkeypatch.undo()
    assert len(attempts._names()) == 3
    assert attempts.read()[0].ended == "out of memory"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "t").write_text("")
    with pytest.raises(LedgerError, match="attempts: cannot be written"):
        Attempts(tmp_path / "t" / "attempts").begin("a", rounds=0)
