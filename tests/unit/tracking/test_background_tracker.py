import threading
import time

import pytest

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError, TrackingError
from labelbench_ray.tracking.background import BackgroundTracker
from labelbench_ray.tracking.tracker import NoTracker, sync

AWAY = TrackingError("http://there", "no answer")


class Recorder:
    """Remembers calls; raises what `failures` holds for a call, once each."""

    def __init__(self, failures=()):
        self.calls = []
        self.failures = list(failures)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.samples = 0

    def load(self):
        pass

    def open(self):
        self._call("open")

    def sync_trial(self, trial):
        self._call(trial.trial_id)

    def watch_machine(self):
        self.samples += 1

    def attach(self, files, note=""):
        self._call((files, note))

    def close(self, state):
        self._call(f"close {state}")

    def _call(self, what):
        self.entered.set()
        assert self.gate.wait(20)
        self.calls.append(what)
        for failure in self.failures:
            if failure[0] == what:
                self.failures.remove(failure)
                raise failure[1]


class Dead(Recorder):
    def _call(self, what):
        self.calls.append(what)
        raise AWAY


class ReadOnly(Recorder):
    """Its experiment and runs are found, and nothing can be written."""

    def _call(self, what):
        self.calls.append(what)
        if what != "open":
            raise TrackingError("sqlite:///there", "attempt to write a readonly database")


def background(tracker, **options):
    warnings = []
    return BackgroundTracker(tracker, warnings.append, **{"pass_s": 0.01, "share": 1.0, **options}), warnings


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def trial(tmp_path, name):
    return Ledger(tmp_path).trial(name)


def test_everything_arrives_in_order(tmp_path):
    recorder = Recorder()
    tracker, warnings = background(recorder, pass_s=60)
    tracker.open()
    for name in "ab":
        tracker.sync_trial(trial(tmp_path, name))
    tracker.attach([tmp_path / "report.html"], note="table")
    tracker.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "b", ((tmp_path / "report.html",), "table"), "close done"]
    assert warnings == []


def test_what_changes_between_two_passes_is_shown_once(tmp_path):
    recorder = Recorder()
    recorder.gate.clear()
    tracker, _ = background(recorder)
    tracker.open()
    assert recorder.entered.wait(20)
    for _ in range(50):
        tracker.sync_trial(trial(tmp_path, "a"))
    recorder.gate.set()
    tracker.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "close done"]


def test_a_sync_asked_for_during_a_sync_is_done_again(tmp_path):
    recorder = Recorder()
    tracker, _ = background(recorder)
    tracker.open()
    wait_until(lambda: recorder.calls == ["open"])
    recorder.gate.clear()
    recorder.entered.clear()
    tracker.sync_trial(trial(tmp_path, "a"))
    assert recorder.entered.wait(20)
    tracker.sync_trial(trial(tmp_path, "a"))  # a round finished while the first one was being read
    recorder.gate.set()
    tracker.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "a", "close done"]


def test_every_pass_looks_at_the_machine(tmp_path):
    recorder = Recorder()
    tracker, _ = background(recorder)
    tracker.open()
    wait_until(lambda: recorder.samples >= 2)
    tracker.close("done", timeout_s=20)
    assert recorder.samples >= 2


def test_a_dead_server_costs_one_warning_and_the_end_says_what_is_missing(tmp_path):
    dead = Dead()
    tracker, warnings = background(dead, retry_s=0.01)
    tracker.open()
    for name in "abc":
        tracker.sync_trial(trial(tmp_path, name))
    wait_until(lambda: len(dead.calls) > 3)
    tracker.attach([tmp_path / "report.html"])
    tracker.close("done", timeout_s=20)
    assert len(warnings) == 2
    assert "results are safe, run `labelbench sync`" in warnings[0]
    assert warnings[1].startswith("not in MLflow yet: 3 of 3 trials and how the study ended; `labelbench sync`")
    assert set(dead.calls) == {"open"}
    assert not tracker._thread.is_alive()


def test_a_server_that_cannot_be_written_is_left_alone_between_attempts(tmp_path):
    server = ReadOnly()
    tracker, warnings = background(server, retry_s=60)
    for number in range(100):
        tracker.sync_trial(trial(tmp_path, f"{number}"))
    tracker.open()
    wait_until(lambda: len(server.calls) >= 7)
    time.sleep(0.05)
    assert [call for call in server.calls if call != "open"] == ["0", "1", "2"]
    tracker.close("done", timeout_s=20)
    assert len(server.calls) < 20
    assert len(warnings) == 2
    assert "readonly" in warnings[0]
    assert "100 of 100 trials and how the study ended" in warnings[1]


def test_a_server_that_comes_back_gets_what_it_missed(tmp_path):
    recorder = Recorder([("open", AWAY), ("a", AWAY)])
    tracker, warnings = background(recorder, retry_s=0.01)
    tracker.sync_trial(trial(tmp_path, "a"))
    tracker.sync_trial(trial(tmp_path, "b"))
    tracker.open()
    wait_until(lambda: recorder.calls.count("a") == 2)
    tracker.close("done", timeout_s=20)
    assert recorder.calls[:5] == ["open", "open", "a", "open", "b"]
    assert recorder.calls[-1] == "close done"
    assert len(warnings) == 1


def test_a_server_that_was_wiped_is_asked_about_every_trial(tmp_path):
    gone = TrackingError("there", "no such run")
    recorder = Recorder()
    tracker, warnings = background(recorder, retry_s=0.01)
    tracker.open()
    for name in "abc":
        tracker.sync_trial(trial(tmp_path, name))
    wait_until(lambda: recorder.calls == ["open", "a", "b", "c"])
    recorder.failures.append(("c", gone))
    tracker.sync_trial(trial(tmp_path, "c"))
    tracker.close("done", timeout_s=20)
    assert recorder.calls[4] == "c"
    assert recorder.calls[5] == "open"
    assert set(recorder.calls[6:]) == {"a", "b", "c", "close done"}
    assert warnings == [str(gone)]


def test_a_trial_that_is_refused_does_not_hold_up_the_others(tmp_path):
    recorder = Recorder([("a", TrackingError("there", "refused"))] * 99)
    tracker, warnings = background(recorder, pass_s=60)
    tracker.open()
    for name in "abcd":
        tracker.sync_trial(trial(tmp_path, name))
    tracker.close("failed", timeout_s=20)
    assert {"b", "c", "d"} < set(recorder.calls)
    assert recorder.calls[-1] == "close failed"
    assert recorder.calls.count("a") == 2
    assert [warning.partition(";")[0] for warning in warnings][1:] == ["not in MLflow yet: 1 of 4 trials"]


@pytest.mark.parametrize("damage", [LedgerError("trials/a", "cannot be read", "delete it"), KeyError("labels")])
def test_a_damaged_trial_is_named_and_skipped(tmp_path, damage):
    recorder = Recorder([("a", damage)])
    tracker, warnings = background(recorder, pass_s=60)
    tracker.open()
    for name in "abc":
        tracker.sync_trial(trial(tmp_path, name))
    tracker.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "b", "c", "close done"]
    assert len(warnings) == 1
    assert str(damage) in warnings[0]


def test_the_end_of_a_run_does_not_wait_for_a_server_that_hangs(tmp_path):
    recorder = Recorder()
    recorder.gate.clear()
    tracker, warnings = background(recorder)
    tracker.open()
    for number in range(1000):
        tracker.sync_trial(trial(tmp_path, f"{number}"))
    tracker.close("done", timeout_s=0.05)
    assert warnings == [
        "not in MLflow yet: 1,000 of 1,000 trials and how the study ended; `labelbench sync` shows them"
    ]
    recorder.gate.set()
    tracker._thread.join(20)
    assert recorder.calls == ["open"]


def test_a_slow_server_gets_the_report_before_the_time_is_up(tmp_path, monkeypatch):
    monkeypatch.setattr("labelbench_ray.tracking.background._LAST_S", 19.9)
    slow = Recorder()
    slow.sync_trial = lambda asked: time.sleep(0.02) or slow.calls.append(asked.trial_id)
    tracker, warnings = background(slow, pass_s=60)
    tracker.open()
    for number in range(1000):
        tracker.sync_trial(trial(tmp_path, f"{number}"))
    tracker.attach([tmp_path / "report.html"])
    tracker.close("done", timeout_s=20)
    assert slow.calls[-2:] == [((tmp_path / "report.html",), ""), "close done"]
    shown = len(slow.calls) - 3
    assert 0 < shown < 1000
    assert warnings == [f"not in MLflow yet: {1000 - shown} of 1,000 trials; `labelbench sync` shows them"]


def test_sync_fills_a_tracker_in_this_thread(tmp_path):
    recorder = Recorder()
    sync(recorder, [trial(tmp_path, name) for name in "ab"], "failed")
    assert recorder.calls == ["open", "a", "b", "close failed"]
    sync(NoTracker(), [trial(tmp_path, "a")], "done")


def test_a_run_that_ends_before_tracking_began_ends_quietly():
    recorder = Recorder()
    tracker, warnings = background(recorder)
    tracker.close("failed")
    assert recorder.calls == warnings == []
