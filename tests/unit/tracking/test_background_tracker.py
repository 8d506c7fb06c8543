import threading
import time

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError, TrackingError
from labelbench_ray.tracking.tracker import BackgroundTracker, NoTracker, sync


class Recorder:
    """Remembers calls; raises what `failures` holds for a call, once each."""

    def __init__(self, failures=()):
        self.calls = []
        self.failures = list(failures)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def open(self):
        self._call("open")

    def sync_trial(self, trial):
        self._call(trial.trial_id)

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
        raise TrackingError("http://nowhere", "Connection refused")


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def trial(tmp_path, name):
    return Ledger(tmp_path).trial(name)


def test_everything_arrives_in_order(tmp_path):
    recorder, warnings = Recorder(), []
    background = BackgroundTracker(recorder, warnings.append)
    background.open()
    for name in "ab":
        background.sync_trial(trial(tmp_path, name))
    background.attach([tmp_path / "report.html"], note="table")
    background.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "b", ((tmp_path / "report.html",), "table"), "close done"]
    assert warnings == []


def test_pending_syncs_of_a_trial_become_one(tmp_path):
    recorder = Recorder()
    recorder.gate.clear()
    background = BackgroundTracker(recorder, print)
    background.open()
    assert recorder.entered.wait(20)
    for _ in range(50):
        background.sync_trial(trial(tmp_path, "a"))
    recorder.gate.set()
    background.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "close done"]


def test_a_sync_asked_for_during_a_sync_is_done_again(tmp_path):
    recorder = Recorder()
    background = BackgroundTracker(recorder, print)
    background.open()
    wait_until(lambda: recorder.calls == ["open"])
    recorder.gate.clear()
    recorder.entered.clear()
    background.sync_trial(trial(tmp_path, "a"))
    assert recorder.entered.wait(20)
    background.sync_trial(trial(tmp_path, "a"))  # a round finished while the first one was being read
    recorder.gate.set()
    background.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "a", "close done"]


def test_a_dead_server_costs_one_warning(tmp_path):
    dead, warnings = Dead(), []
    background = BackgroundTracker(dead, warnings.append)
    background.open()
    for name in "abc":
        background.sync_trial(trial(tmp_path, name))
    background.close("done", timeout_s=20)
    assert len(warnings) == 1
    assert "results are safe, run `labelbench sync`" in warnings[0]
    assert set(dead.calls) == {"open"}
    assert not background._thread.is_alive()


def test_a_server_that_comes_back_gets_what_it_missed(tmp_path):
    away = TrackingError("http://there", "no answer")
    recorder, warnings = Recorder([("open", away), ("a", away)]), []
    background = BackgroundTracker(recorder, warnings.append, retry_s=0.01)
    background.open()
    background.sync_trial(trial(tmp_path, "a"))
    background.sync_trial(trial(tmp_path, "b"))
    wait_until(lambda: recorder.calls.count("a") == 2)
    background.close("done", timeout_s=20)
    assert recorder.calls == ["open", "open", "a", "b", "a", "close done"]
    assert len(warnings) == 1


def test_a_trial_that_is_refused_at_the_end_does_not_hold_up_the_others(tmp_path):
    recorder, warnings = Recorder([("a", TrackingError("there", "refused"))] * 9), []
    background = BackgroundTracker(recorder, warnings.append)
    recorder.gate.clear()
    background.open()
    background.sync_trial(trial(tmp_path, "a"))
    background.sync_trial(trial(tmp_path, "b"))
    recorder.gate.set()
    background.close("failed", timeout_s=20)
    assert recorder.calls[-2:] == ["b", "close failed"]
    assert len(warnings) == 1


def test_a_damaged_trial_is_named_and_skipped(tmp_path):
    damaged = LedgerError("trials/a", "cannot be read", "delete it")
    recorder, warnings = Recorder([("a", damaged), ("b", KeyError("labels"))]), []
    background = BackgroundTracker(recorder, warnings.append)
    background.open()
    for name in "abc":
        background.sync_trial(trial(tmp_path, name))
    background.close("done", timeout_s=20)
    assert recorder.calls == ["open", "a", "b", "c", "close done"]
    assert len(warnings) == 2
    assert "trials/a" in warnings[0]


def test_the_end_of_a_run_does_not_wait_for_a_server_that_hangs(tmp_path):
    recorder, warnings = Recorder(), []
    recorder.gate.clear()
    background = BackgroundTracker(recorder, warnings.append)
    background.open()
    background.close("done", timeout_s=0.05)
    assert len(warnings) == 1
    assert "labelbench sync" in warnings[0]
    recorder.gate.set()
    background._thread.join(20)


def test_sync_fills_a_tracker_in_this_thread(tmp_path):
    recorder = Recorder()
    sync(recorder, [trial(tmp_path, name) for name in "ab"], "failed")
    assert recorder.calls == ["open", "a", "b", "close failed"]
    sync(NoTracker(), [trial(tmp_path, "a")], "done")


def test_a_run_that_ends_before_tracking_began_ends_quietly():
    recorder, warnings = Recorder(), []
    BackgroundTracker(recorder, warnings.append).close("failed")
    assert recorder.calls == warnings == []
