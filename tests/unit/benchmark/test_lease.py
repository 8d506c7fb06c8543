"""One holder at a time, whatever dies, stalls or races; no locks of the file system are used."""

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from labelbench_ray.benchmark import lease as module
from labelbench_ray.benchmark.lease import Lease
from labelbench_ray.errors import LeaseLostError, TrialLockedError
from labelbench_ray.storage.on_disk import OnDisk

HOLD_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from labelbench_ray.benchmark.lease import Lease
with Lease(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "t" / "lease"


def test_a_lease_is_held_by_one_and_then_free(folder):
    lease = Lease(folder)
    assert lease.holder() is None
    with lease.hold() as held:
        assert lease.holder().pid == os.getpid()
        held.check()
        with pytest.raises(TrialLockedError, match=f"trial t is being run by process {os.getpid()} of "), lease.hold():
            pass
    assert lease.holder() is None
    with lease.hold():
        assert lease.holder() is not None


def test_a_killed_holder_of_this_machine_holds_nothing(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLD_UNTIL_KILLED, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TrialLockedError), Lease(folder).hold():
            pass
    finally:
        process.send_signal(signal.SIGKILL)
    give_up = time.monotonic() + 10
    while Lease(folder).holder() is not None:  # a killed child that nobody has waited for is dead too
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert Lease(folder).last_holder().pid == process.pid
    with Lease(folder).hold():
        pass
    process.communicate()


def held_elsewhere(folder, silent_s, **changes):
    """A lease that a process of another machine took, and last renewed so many seconds ago."""
    folder.mkdir(parents=True)
    told = {**asdict(module._this_process()), "machine": "another", "host": "far", **changes}
    file = folder / "00000004"
    file.write_text(json.dumps(told))
    os.utime(file, (time.time() - silent_s,) * 2)
    return file


def test_a_lease_of_another_machine_is_free_once_it_was_not_renewed_for_long(folder):
    file = held_elsewhere(folder, silent_s=5)
    lease = Lease(folder, expires_s=10)
    with pytest.raises(TrialLockedError, match="of far"), lease.hold():
        pass
    os.utime(file, (time.time() - 11,) * 2)
    assert lease.holder() is None
    with lease.hold() as held:
        assert held.number == 5
        assert not file.exists()


def test_a_pid_that_was_used_again_is_not_the_holder(folder):
    held_elsewhere(folder, silent_s=0, machine=module._machine(), started="12345")
    assert Lease(folder).holder() is None


def test_a_holder_renews_its_lease(folder):
    lease = Lease(folder, expires_s=1.0, renew_s=0.05)
    with lease.hold() as held:
        file = folder / f"{held.number:08d}"
        os.utime(file, (0, 0))
        give_up = time.monotonic() + 10
        while file.stat().st_mtime < 1:
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_a_holder_that_was_silent_finds_that_it_was_taken_over_and_leaves_the_new_one_alone(folder):
    lease = Lease(folder, expires_s=0.5, renew_s=60)
    with lease.hold() as silent:
        os.utime(folder / f"{silent.number:08d}", (0, 0))
        with lease.hold() as taken:
            taken.check()
            with pytest.raises(LeaseLostError, match="taken over"):
                silent.check()
        assert lease.holder() is None
    assert lease.holder() is None
    with lease.hold() as after:
        assert after.number > taken.number


def test_only_the_process_that_is_known_to_be_dead_is_revoked(folder):
    lease = Lease(folder)
    with lease.hold() as held:
        lease.revoke(replace(lease.holder(), pid=1))
        held.check()
        lease.revoke(lease.holder())
        with pytest.raises(LeaseLostError):
            held.check()
        assert lease.holder() is None


def test_one_who_looked_long_ago_does_not_take_a_number_that_is_gone(folder, monkeypatch):
    lease = Lease(folder)
    for _ in range(3):
        with lease.hold():
            pass
    looks, look = iter([0]), Lease._newest  # it was stopped between its look and its taking
    monkeypatch.setattr(Lease, "_newest", lambda self: next(looks, look(self)))
    with pytest.raises(TrialLockedError), lease.hold():
        pass
    assert lease.holder() is None
    assert [file.name for file in folder.iterdir()] == ["00000003"]


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_those_who_race_one_wins(tmp_path, abandoned):
    for turn in range(30):
        folder = tmp_path / str(turn) / "lease"
        if abandoned:
            held_elsewhere(folder, silent_s=1000)
        start, winners = threading.Barrier(4), []
        release = threading.Event()

        def race(folder=folder, start=start, winners=winners, release=release):
            start.wait()
            try:
                with Lease(folder).hold():
                    winners.append(1)
                    release.wait(10)
            except TrialLockedError:
                pass

        racers = [threading.Thread(target=race) for _ in range(4)]
        for racer in racers:
            racer.start()
        while sum(racer.is_alive() for racer in racers) > 1:
            time.sleep(0.001)
        release.set()
        for racer in racers:
            racer.join()
        assert winners == [1]


def test_processes_never_hold_it_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        spans = [span for spans in pool.map(_hold_often, [tmp_path / "t" / "lease"] * 3) for span in spans]
    spans.sort()
    assert len(spans) >= 30
    assert all(left <= entered for (_, left), (entered, _) in itertools.pairwise(spans))


def _hold_often(folder):
    spans = []
    while len(spans) < 15:
        try:
            with Lease(folder).hold():
                entered = time.monotonic()
                time.sleep(0.001)
                spans.append((entered, time.monotonic()))
        except TrialLockedError:
            time.sleep(0.001)
    return spans


def test_a_lease_that_could_not_be_given_back_is_free_to_the_process_that_tried(folder, monkeypatch):
    lease = Lease(folder)
    with lease.hold():
        monkeypatch.setattr(OnDisk, "write", lambda *_, **__: (_ for _ in ()).throw(OSError("no answer")))
    monkeypatch.undo()
    assert lease.last_holder().pid == os.getpid(), "it was not given back"
    with lease.hold() as held:
        held.check()
