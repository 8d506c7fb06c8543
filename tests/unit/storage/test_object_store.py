"""Object stores: what they cost, and what happens when they fail."""

import errno
import os
from pathlib import Path

import pytest
from object_store import Flaky

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import StorageError
from labelbench_ray.storage import in_cloud
from labelbench_ray.storage.place import place_at


@pytest.fixture
def watched(bucket, monkeypatch):
    """Puts a watcher before the bucket's store."""

    def watch(**told):
        store = Flaky(in_cloud._bucket(bucket, os.getpid()), **told)
        monkeypatch.setattr(in_cloud, "_store", lambda _: store)
        return store

    return watch


def test_a_moment_asks_once_for_what_has_not_changed(bucket, watched):
    place = place_at(bucket)
    for trial in range(20):
        place.write(f"trials/{trial}/status.json", f"{trial}".encode())
    store = watched()
    now = place.now("trials/*/status.json")
    assert (store.requests["list"], store.requests["get"]) == (1, 20)
    assert [now.read(f"trials/{trial}/status.json") for trial in range(20)] == [f"{n}".encode() for n in range(20)]
    place.write("trials/3/status.json", b"changed")
    again = place.now("trials/*/status.json")
    assert again.read("trials/3/status.json") == b"changed"
    assert (store.requests["list"], store.requests["get"]) == (2, 21)
    assert now.read("trials/3/status.json") == b"3", "a moment does not change"


def test_a_moment_is_read_where_this_machine_has_no_space_for_copies(bucket, watched, monkeypatch):
    def no_space(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = place_at(bucket)
    place.write("status.json", b"done")
    monkeypatch.setattr(Path, "write_bytes", no_space)
    store, now = watched(), place.now("*.json")
    assert [now.read("status.json") for _ in range(3)] == [b"done"] * 3
    assert store.requests["get"] == 4


def test_a_lost_answer_to_a_write_is_no_refusal(bucket):
    place = place_at(bucket)
    place.create("lease/1", b"mine")
    place.create("lease/1", b"mine")  # as the repeated request of the same process
    assert place.read("lease/1") == b"mine"


def test_a_store_that_does_not_answer_is_an_error_of_input_and_output(bucket, watched):
    watched(fails=lambda verb, name, nth: True)
    for work in (lambda: place_at(bucket).read("x"), lambda: place_at(bucket).write("x", b"")):
        with pytest.raises(OSError, match="the store does not answer") as caught:
            work()
        assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(store):
    place = place_at("s3://no-such-bucket/x")
    for ask in (Ledger(place).check_writable, place.folders, place.now, lambda: place.read("y")):
        with pytest.raises(StorageError, match="s3://no-such-bucket/x: there is no such bucket; make it"):
            ask()


@pytest.mark.parametrize("address", ["s3://", "s3:///folder", "gs://"])
def test_an_address_without_a_bucket_is_refused(address):
    with pytest.raises(StorageError, match="names no bucket"):
        place_at(address)


def test_a_server_that_is_not_there_is_told_in_few_words(monkeypatch, store):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"error sending request, asked \d+ times") as caught:
        place_at("s3://another-bucket/x").read("y")
    assert "retry_timeout" not in str(caught.value)


def test_a_store_without_conditional_writes_is_refused(bucket, monkeypatch):
    place = place_at(bucket)
    monkeypatch.setattr(in_cloud.InCloud, "create", lambda self, name, data: self.write(name, data))
    with pytest.raises(StorageError, match="two processes could make one file"):
        Ledger(place).check_writable()
    monkeypatch.undo()
    Ledger(place).check_writable()
    assert place.sizes() == {}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    in_cloud._bucket.cache_clear()
    with pytest.raises(StorageError, match=r"the package obstore is missing; install labelbench_ray\[cloud\]"):
        place_at("s3://bucket-of-nobody").read("x")


def test_a_snapshot_is_not_written_through(bucket):
    now = place_at(bucket).now()
    for write in (now.write, now.create):
        with pytest.raises(TypeError, match="not through a snapshot"):
            write("x", b"")
