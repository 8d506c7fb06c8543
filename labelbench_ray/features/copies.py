"""The file of this machine with the rows of a shard: that of a disk itself, or a copy of the one in an object store.

A copy is made by the first process of a machine that reads the shard, whatever number of them ask at the same time;
then all of them map the same file, and so share its pages.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from labelbench_ray.errors import FeatureStoreError
from labelbench_ray.features.files import ANEW, copying, reading, removing
from labelbench_ray.features.room import make_room, note_read
from labelbench_ray.features.shard_file import ShardEntry, shard_name, wrong_size
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.storage.place import Place

MISSING = "is missing; embed again, which makes what is missing"
ALTERED = f"was altered: its checksum is not the manifest's; {ANEW}"
AT_ONCE = 8
"""Shards that a process gets side by side: one alone waits for the network most of the time."""


def local_file(place: Place, entry: ShardEntry) -> Path:
    """The file of a shard of the set that lies at ``place``, its size and bytes compared with the entry.

    Bytes are read once per process and file: identity.py remembers their digest by size and time of change. A copy that
    does not fit is got again, once. Raises FeatureStoreError.
    """
    path = place.scratch / shard_name(entry.index)
    wrong = _what_is_wrong(path, entry)
    if wrong and place.is_remote:
        _copy(place, path, entry)
        wrong = _what_is_wrong(path, entry)
    if wrong:
        raise FeatureStoreError(f"{place.where}/{path.name}", wrong)
    if place.is_remote:
        note_read(path)
    return path


def copied(place: Place) -> list[Path]:
    """This machine's copies of the shards of a set in an object store."""
    return sorted(place.scratch.glob("shard-*.npy"))


def drop_copies(place: Place) -> None:
    """Remove this machine's copies of a set; whoever reads it again gets them again, who has them open keeps them.

    Raises FeatureStoreError.
    """
    for path in copied(place):
        with removing(place), _alone_with(path):
            path.unlink(missing_ok=True)


def _what_is_wrong(path: Path, entry: ShardEntry) -> str:
    """Empty if nothing is."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return MISSING
    if size == entry.num_bytes and content_fingerprint(path) != entry.checksum:
        return ALTERED
    return wrong_size(size, entry)


def _copy(place: Place, path: Path, entry: ShardEntry) -> None:
    """Get the file, unless another process did while this one waited for it."""
    with copying(place, path.name), _alone_with(path):
        if _what_is_wrong(path, entry):
            path.unlink(missing_ok=True)
            make_room(entry.num_bytes)
            _get(place, path)


def _get(place: Place, path: Path) -> None:
    """Make the file, whole or not at all; none where the place has none."""
    draft = path.with_name(f".{path.name}.draft")  # a process that was killed leaves one, and the next writes over it
    with reading(place, path.name):
        try:
            data = place.read(path.name)
        except FileNotFoundError:
            return
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """One process of this machine at a time; the kernel frees the lock of one that dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
