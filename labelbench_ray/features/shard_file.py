"""One shard on disk: ``shard-00000.npy`` with its rows, and ``shard-00000.json``, its entry, written after it.

A shard counts as done when its entry is there. Both are written under a temporary name and renamed, so that a process
killed at any moment leaves a whole shard or none.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from labelbench_ray.errors import FeatureStoreError
from labelbench_ray.features.stages import Stopwatch
from labelbench_ray.identity import content_fingerprint
from labelbench_ray.types import Floats, Ids


class Undecodable(NamedTuple):
    """An example whose image cannot be read; its row is zero."""

    example_id: int
    source: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """What the manifest says of rows ``first .. last-1``."""

    index: int
    first: int
    last: int
    width: int
    dtype: str
    num_bytes: int
    checksum: str
    weights: str
    """Digest of the encoder's weights: all shards of a set must have been made with the same."""
    made_with: str
    """Device, instruction set and library versions, on which the last bits depend."""
    undecodable: tuple[Undecodable, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage (see stages.py), and ``wall`` and ``device`` of the whole: its part, where several views were made."""

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> "ShardEntry":
        """From the data of an entry file."""
        undecodable = tuple(Undecodable(*image) for image in plain.pop("undecodable"))
        return cls(**plain, undecodable=undecodable)


def shard_path(folder: Path, index: int) -> Path:
    """File of the rows of a shard."""
    return folder / f"shard-{index:05d}.npy"


def entry_path(folder: Path, index: int) -> Path:
    """File of the entry of a shard."""
    return shard_path(folder, index).with_suffix(".json")


def write_shard(
    folder: Path,
    index: int,
    first: int,
    rows_ND: Floats,
    *,
    dtype: str,
    weights: str,
    made_with: str,
    undecodable: Iterable[Undecodable] = (),
    seconds: Mapping[str, float] | None = None,
) -> ShardEntry:
    """Store rows and entry. Raises FeatureStoreError for numbers that cannot be stored and for a disk that will not."""
    path = shard_path(folder, index)
    stored_ND = _as_stored(rows_ND, dtype, first, path)
    watch = Stopwatch()
    with watch.stage("write"):
        write_whole(path, lambda file: write_npy(file, stored_ND))
    entry = ShardEntry(
        index=index,
        first=first,
        last=first + len(stored_ND),
        width=stored_ND.shape[1],
        dtype=dtype,
        num_bytes=path.stat().st_size,
        checksum=content_fingerprint(path),
        weights=weights,
        made_with=made_with,
        undecodable=tuple(undecodable),
        seconds={name: round(spent, 4) for name, spent in {**(seconds or {}), **watch.seconds}.items()},
    )
    write_json(entry_path(folder, index), asdict(entry))
    return entry


def write_npy(file: BinaryIO, rows_ND: Floats) -> None:
    """As ``np.save``, which loses the reason when a disk is full: it says how much was written, and no more."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows_ND))
    file.write(rows_ND.data)


def _as_stored(rows_ND: Floats, dtype: str, first: int, path: Path) -> Floats:
    _refuse_not_finite(rows_ND, first, path, "is NaN or infinite; check the image and the weights")
    with np.errstate(over="ignore"):  # told below, with the example's id
        stored_ND: Floats = np.ascontiguousarray(rows_ND, dtype=dtype)
    _refuse_not_finite(stored_ND, first, path, f"is too large for {dtype}; set the stored dtype to float32")
    return stored_ND


def _refuse_not_finite(rows_ND: Floats, first: int, path: Path, complaint: str) -> None:
    bad: Ids = np.flatnonzero(~np.isfinite(rows_ND).all(axis=1))
    if bad.size:
        raise FeatureStoreError(path, f"the embedding of example {first + int(bad[0])} {complaint}")


def read_entry(folder: Path, index: int) -> ShardEntry | None:
    """The entry of a shard that is there, None if it is not. Raises FeatureStoreError if it is cut short."""
    path = shard_path(folder, index)
    if not (path.is_file() and entry_path(folder, index).is_file()):
        return None
    plain = read_json(entry_path(folder, index))
    try:
        entry = ShardEntry.parse(plain)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(entry_path(folder, index), f"is no shard entry ({error})") from None
    check_size(folder, entry)
    return entry


def check_size(folder: Path, entry: ShardEntry) -> None:
    """Raises FeatureStoreError naming the file when it is missing or not as long as it was."""
    path = shard_path(folder, entry.index)
    if not path.is_file():
        raise FeatureStoreError(path, "is missing; embed again, which makes what is missing")
    size = path.stat().st_size
    if size != entry.num_bytes:
        raise _broken(path, f"has {size} bytes instead of {entry.num_bytes}")


def map_shard(folder: Path, entry: ShardEntry) -> Floats:
    """(rows, D) read-only, memory-mapped, after its bytes were compared with the checksum.

    The comparison is made once per process and file: identity.py remembers it by size and time of change.
    """
    check_size(folder, entry)
    path = shard_path(folder, entry.index)
    if content_fingerprint(path) != entry.checksum:
        raise _broken(path, "was altered: its checksum is not the manifest's")
    rows_ND: Floats = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    return rows_ND


def _broken(path: Path, complaint: str) -> FeatureStoreError:
    return FeatureStoreError(path, f"{complaint}; delete this file and run again, which makes it anew")


def write_json(path: Path, plain: Any) -> None:
    """Store plain data, whole or not at all."""
    text = json.dumps(plain, indent=1, sort_keys=True)
    write_whole(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Plain data. Raises FeatureStoreError naming the file."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise FeatureStoreError(
            path, f"cannot be read ({error.strerror}); look at that disk, then run again"
        ) from error
    except ValueError as error:
        raise _broken(path, f"was altered or cut short: it is no JSON ({error})") from None


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write beside, sync, rename: the file appears complete or not at all. Raises FeatureStoreError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        told = f"cannot be written ({reason}); free space, or choose another --features"
        raise FeatureStoreError(path, told) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
