"""Disks that are really full: small ones, mounted for a test. What a user is told, and that there is a way on."""

import contextlib
import errno
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_features, write_image_folder
from runs import write_spec

from labelbench_ray.benchmark.lease import Lease
from labelbench_ray.features.shard_file import write_npy

pytestmark = pytest.mark.usefixtures("elsewhere")

VECTORS = {"dataset": {"name": "features", "path": "vectors.npz"}, "encoder": None}
IMAGES = {"dataset": {"name": "image_folder", "path": "images"}, "encoder": {"name": "pixels", "size": 32}}
FEW = {"strategy": ["random", "margin"], "schedule": {"initial": 4, "labels_per_round": 2, "rounds": 2}}
IMPATIENT = {"full_disk": 1, "wait_s": 0.01}
NO_SPACE = "cannot be written (No space left on device); free space, or choose another"


class SmallDisk:
    """A file system of its own in ``folder``."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, but=0):
        """Leave no more than so many bytes, in whole pages."""
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(self._filler, self._filler.stat().st_size - but)

    def free(self):
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def run(call, tmp_path):
    def run_it(*words, **changes):
        file = write_spec(tmp_path, **{**FEW, **VECTORS, "limits": IMPATIENT, **changes})
        return call("run", file, "--executor", "in_process", *words)

    return run_it


def last_line(ended, exit_code):
    code, out, err = ended
    assert (code, out) == (exit_code, ""), err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_features_that_find_no_space_are_told_and_made_once_there_is_some(run, disk, tmp_path):
    write_image_folder(tmp_path / "images")
    disk.fill(but=16384)
    told = last_line(run("--features", "disk/features", **IMAGES), exit_code=3)
    assert told.startswith(f"error: features {disk.folder}/features/")
    assert told.endswith(f"/shard-00000.npy: {NO_SPACE} --features")
    disk.free()
    assert run("--features", "disk/features", **IMAGES)[0] == 0


def test_results_that_find_no_space_are_told_before_anything_starts(run, disk):
    write_features(Path("vectors.npz"))
    disk.fill()
    told = last_line(run("--results", "disk/results"), exit_code=3)
    assert told.startswith("error: results disk/results")
    assert told.endswith(f": {NO_SPACE} --results")
    disk.free()
    assert run("--results", "disk/results")[0] == 0


def test_results_that_find_no_space_on_the_way_are_tried_again_then_told_and_done_once_there_is_some(run, disk):
    write_features(Path("vectors.npz"))
    disk.fill(but=40960)
    code, _, err = run("--results", "disk/results")
    assert code == 1
    assert "Traceback" not in err
    assert ": retry: " in err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert failed
    assert all("No space left on device" in line for line in failed)
    disk.free()
    assert run("--results", "disk/results")[0] == 0


def test_a_lease_is_given_back_also_on_a_full_disk(disk):
    lease = Lease(disk.folder / "trial" / "lease")
    with lease.hold() as held:
        disk.fill()
        held.check()
        assert lease.holder() is not None
    assert lease.holder() is None
    assert lease.last_holder() is None


def test_a_lease_is_renewed_also_on_a_full_disk(disk):
    lease = Lease(disk.folder / "trial" / "lease", expires_s=2.0, renew_s=0.05)
    with lease.hold():
        disk.fill()
        file = next(file for file in (disk.folder / "trial" / "lease").iterdir() if file.name.isdigit())
        before, give_up = file.stat().st_mtime_ns, time.monotonic() + 10
        while file.stat().st_mtime_ns == before:
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_tracking_that_finds_no_space_costs_a_warning_and_is_filled_in_by_sync_once_there_is_some(run, call, disk):
    write_features(Path("vectors.npz"))
    disk.fill(but=65536)
    told = f"tracking sqlite:///{disk.folder}/mlflow.db: "
    code, _, err = run(tracking={"mlflow": f"sqlite:///{disk.folder}/mlflow.db"})
    assert code == 0
    assert err.count(told) == 1
    assert "not in MLflow yet: 2 of 2 trials and how the study ended; `labelbench sync` shows them" in err
    assert last_line(call("sync", "experiment.yaml"), exit_code=3).startswith(f"error: {told}")
    disk.free()
    assert call("sync", "experiment.yaml") == (0, "2 trials are in MLflow\n", "")


def test_a_disk_that_fills_while_rows_are_written_says_so():
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_npy(full, np.zeros((1000, 100), np.float16))
