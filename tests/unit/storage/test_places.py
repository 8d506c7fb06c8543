"""What a ledger asks of a place, on a disk and in an object store that speaks S3's language."""

import pickle
import threading
import time

import pytest

from labelbench_ray.storage.on_disk import OnDisk
from labelbench_ray.storage.place import place_at


def test_what_is_written_is_read(place):
    assert not place.has("a/b.json")
    place.write("a/b.json", b"first")
    place.write("a/b.json", b"second one")
    assert place.has("a/b.json")
    assert not place.has("a")
    assert place.read("a/b.json") == b"second one"
    assert place.read("a/b.json", 7) == b"one"
    assert place.read("a/b.json", 50) == b""
    assert place.below("a").read("b.json") == b"second one"


def test_a_name_is_made_once(place):
    place.create("lease/1", b"mine")
    with pytest.raises(FileExistsError):
        place.create("lease/1", b"yours")
    assert place.read("lease/1") == b"mine"


def test_of_those_who_make_a_name_at_once_one_does(place):
    made, start = [], threading.Barrier(8)

    def make(who):
        start.wait()
        try:
            place.create("lease/1", f"process {who}".encode())
            made.append(who)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=make, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = made
    assert place.read("lease/1") == f"process {winner}".encode()


def test_what_is_not_there_is_not_found(place):
    for look in (place.read, place.modified, place.fetch):
        with pytest.raises(FileNotFoundError):
            look("nothing")
    assert (place.names(), place.folders(), place.sizes()) == ([], [], {})
    place.delete("nothing")


def test_files_and_folders_are_listed(place):
    for name in ("top", "a/x", "a/y", "a/deep/z", "ab/w"):
        place.write(name, b"1")
    assert place.names() == ["top"]
    assert place.folders() == ["a", "ab"]
    assert sorted(place.below("a").names()) == ["x", "y"]
    assert place.below("a").folders() == ["deep"]
    assert place.below("a").sizes() == {"x": 1, "y": 1, "deep/z": 1}
    place.delete("a/x")
    assert place.below("a").names() == ["y"]


def test_times_are_those_of_writing(place):
    began = time.time()
    place.write("a", b"")
    assert began - 2 <= place.modified("a") <= time.time() + 2


def test_what_was_written_to_scratch_is_published_and_fetched(place):
    folder = place.scratch / "model" / "part"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w")
    (place.scratch / "log").write_bytes(b"l")
    place.publish("model")
    place.publish("log")
    assert place.read("model/part/weights") == b"w"
    if place.is_remote:
        (folder / "weights").unlink()
    assert (place.fetch("model") / "part" / "weights").read_bytes() == b"w"
    assert place.fetch("log").read_bytes() == b"l"


def test_a_moment_is_read_like_the_place(place):
    for name in ("top", "a/x", "a/deep/z"):
        place.write(name, name.encode())
    now = place.now("a/*")
    assert now.where == place.where
    assert (now.names(), now.folders(), now.below("a").folders()) == (place.names(), ["a"], ["deep"])
    assert now.below("a").read("deep/z") == b"a/deep/z"
    assert now.read("top", 1) == b"op"
    assert now.sizes() == place.sizes()
    assert now.modified("a/x") == place.modified("a/x")
    assert now.has("a/x")
    assert not now.has("a")
    place.write("later", b"")
    assert now.now().has("later")
    for look in (now.read, now.modified):
        with pytest.raises(FileNotFoundError):
            look("nothing")


def test_a_place_is_small_and_travels_without_keys(place):
    told = pickle.dumps(place)
    assert pickle.loads(told).where == place.where
    assert len(told) < 500
    assert b"AWS" not in told


def test_paths_and_addresses_are_told_apart(tmp_path):
    assert isinstance(place_at(tmp_path), OnDisk)
    assert isinstance(place_at("results/x"), OnDisk)
    assert place_at("results/x").absolute().folder.is_absolute()
    assert place_at("s3://bucket/a/").where == "s3://bucket/a"
    assert place_at("gs://bucket/a").is_remote
    assert place_at(place_at(tmp_path)) == place_at(tmp_path)
