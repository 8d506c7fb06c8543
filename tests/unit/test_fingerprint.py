import os

import pytest
import xxhash

from labelbench_ray import fingerprint
from labelbench_ray.fingerprint import content_fingerprint, images_by_size, its_bytes


def test_a_folder_counts_by_names_and_bytes_wherever_it_lies(tmp_path):
    def write(root, files):
        for file, content in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content)
        return content_fingerprint(root)

    base = {"x/1": b"one", "x/2": b"two"}
    first = write(tmp_path / "a", base)
    assert write(tmp_path / "b", dict(reversed(base.items()))) == first
    others = [
        {"x/1": b"one", "x/2": b"TWO"},
        {"x/1": b"one", "y/2": b"two"},
        {"x/1": b"one"},
        {"x/1": b"two", "x/2": b"one"},
    ]
    assert len({first, *(write(tmp_path / str(number), files) for number, files in enumerate(others))}) == 5


def test_linked_folders_count_by_what_they_hold(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "real")
    before = content_fingerprint(tmp_path / "root")
    (tmp_path / "real" / "file").write_bytes(b"22")
    assert content_fingerprint(tmp_path / "root") != before


def test_a_change_that_keeps_the_size_is_seen(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"1")
    os.utime(file, ns=(0, 1))
    before = content_fingerprint(file)
    file.write_bytes(b"2")
    os.utime(file, ns=(0, 2))
    assert content_fingerprint(file) != before


def test_files_of_a_folder_are_read_once_until_one_changes(tmp_path):
    for name in ("a-b/x", "a/x", "a/b/y", "é"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(name.encode())
    read = []

    def told_by(file):
        read.append(file)
        return its_bytes(file)

    first = content_fingerprint(tmp_path, told_by=told_by)
    assert content_fingerprint(tmp_path, told_by=told_by) == first == content_fingerprint(tmp_path)
    assert len(read) == 4
    (tmp_path / "é").write_bytes(b"another")
    assert content_fingerprint(tmp_path, told_by=told_by) != first
    (tmp_path / "é").write_bytes("é".encode())
    os.utime(tmp_path / "é", ns=(1, 1))
    assert content_fingerprint(tmp_path, told_by=told_by) == first
    (tmp_path / "a" / "z").symlink_to("nothing")
    assert content_fingerprint(tmp_path, told_by=told_by) == first
    (tmp_path / "a" / "b" / "y").rename(tmp_path / "a" / "y")
    assert content_fingerprint(tmp_path, told_by=told_by) != first


def test_a_folders_digest_is_that_of_names_and_bytes_in_the_order_of_paths(tmp_path):
    for name in ("a/x", "a-b/x"):  # as text the second comes first, as paths the first
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"same")
    file = xxhash.xxh3_128(b"same").hexdigest()
    expected = xxhash.xxh3_128(f"a/x\0{file}\na-b/x\0{file}\n".encode()).hexdigest()
    assert content_fingerprint(tmp_path) == f"xxh128:{expected}"


def test_a_folder_without_a_file_that_counts_has_no_digest(tmp_path):
    needed = tmp_path / "needed.mat"
    with pytest.raises(FileNotFoundError, match=r"needed\.mat"):
        content_fingerprint(tmp_path, files=lambda folder: [needed])
    needed.write_bytes(b"downloaded")
    assert content_fingerprint(tmp_path, files=lambda folder: [needed])


def test_a_long_walk_is_not_taken_for_each_trial_of_a_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "LONG_LISTING", 5)
    walked, listing = [], fingerprint._listing
    monkeypatch.setattr(fingerprint, "_listing", lambda *arguments: walked.append(arguments) or listing(*arguments))
    (tmp_path / "long").mkdir()
    for number in range(5):
        (tmp_path / "long" / f"{number}.jpg").write_bytes(b"x")
    first = content_fingerprint(tmp_path / "long")
    assert content_fingerprint(tmp_path / "long") == first
    assert len(walked) == 1
    assert content_fingerprint(tmp_path / "long", told_by=images_by_size) != first  # another question
    monkeypatch.setattr(fingerprint, "LONG_LISTING_S", 0.0)
    (tmp_path / "long" / "5.jpg").write_bytes(b"more")
    assert content_fingerprint(tmp_path / "long") != first


def test_an_image_that_counts_by_its_size_is_not_read(tmp_path):
    (tmp_path / "0.JPEG").write_bytes(b"one")
    (tmp_path / "labels.csv").write_bytes(b"one")
    before = content_fingerprint(tmp_path, told_by=images_by_size)
    (tmp_path / "0.JPEG").write_bytes(b"two")
    assert content_fingerprint(tmp_path, told_by=images_by_size) == before
    (tmp_path / "labels.csv").write_bytes(b"two")
    assert content_fingerprint(tmp_path, told_by=images_by_size) != before
