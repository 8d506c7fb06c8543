"""One shard: ``shard-00000.npy`` with its rows, and ``shard-00000.json``, its entry, written after it.

A shard counts as done when its entry is there. Both appear whole or not at all, so that a process killed at any moment
leaves a whole shard or none.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from labelbench_ray.errors import FeatureStoreError
from labelbench_ray.features.files import ANEW, copying, read_json, reading, write_json, writing
from labelbench_ray.features.stages import Stopwatch
from labelbench_ray.fingerprint import content_fingerprint
from labelbench_ray.storage.on_disk import draft_beside
from labelbench_ray.storage.place import Place
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


def shard_name(index: int) -> str:
    """File of the rows of a shard."""
    return f"shard-{index:05d}.npy"


def entry_name(index: int) -> str:
    """File of the entry of a shard."""
    return f"shard-{index:05d}.json"


def write_shard(
    place: Place,
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
    """Store rows and entry in the set at ``place``.

    In an object store the rows are written here and sent from here, so that readers on this machine have them already.
    Raises FeatureStoreError for numbers that cannot be stored and for a disk or store that will not.
    """
    name = shard_name(index)
    path = place.scratch / name
    stored_ND = _as_stored(rows_ND, dtype, first, f"{place.where}/{name}")
    watch = Stopwatch()
    with watch.stage("write"):
        with copying(place, name):
            _save(path, stored_ND)
        with writing(place, name):
            place.publish(name)
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
    write_json(place, entry_name(index), asdict(entry))
    return entry


def _save(path: Path, stored_ND: Floats) -> None:
    """Written beside and renamed: the file appears whole or not at all, and is on the disk."""
    with draft_beside(path) as draft:
        with draft.open("wb") as file:
            write_npy(file, stored_ND)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def write_npy(file: BinaryIO, rows_ND: Floats) -> None:
    """As ``np.save``, which loses the reason when a disk is full: it says how much was written, and no more."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows_ND))
    file.write(rows_ND.data)


def _as_stored(rows_ND: Floats, dtype: str, first: int, file: str) -> Floats:
    _refuse_not_finite(rows_ND, first, file, "is NaN or infinite; check the image and the weights")
    with np.errstate(over="ignore"):  # told below, with the example's id
        stored_ND: Floats = np.ascontiguousarray(rows_ND, dtype=dtype)
    _refuse_not_finite(stored_ND, first, file, f"is too large for {dtype}; set the stored dtype to float32")
    return stored_ND


def _refuse_not_finite(rows_ND: Floats, first: int, file: str, complaint: str) -> None:
    bad: Ids = np.flatnonzero(~np.isfinite(rows_ND).all(axis=1))
    if bad.size:
        raise FeatureStoreError(file, f"the embedding of example {first + int(bad[0])} {complaint}")


def read_entry(place: Place, index: int) -> ShardEntry | None:
    """The entry of a shard that is there, None if it is not. Raises FeatureStoreError if one of them is cut short."""
    with reading(place, shard_name(index)):
        try:
            size = place.size(shard_name(index))
        except FileNotFoundError:
            return None
        if not place.has(entry_name(index)):
            return None
    entry = parsed_entry(place, entry_name(index))
    check_size(place, entry, size)
    return entry


def parsed_entry(place: Place, name: str) -> ShardEntry:
    """The entry in this file. Raises FeatureStoreError for what is none."""
    plain = read_json(place, name)
    try:
        return ShardEntry.parse(plain)
    except (KeyError, TypeError, ValueError) as error:
        told = f"is no shard entry ({error}); {ANEW}"
        raise FeatureStoreError(f"{place.where}/{name}", told) from None


def check_size(place: Place, entry: ShardEntry, size: int) -> None:
    """Raises FeatureStoreError naming the file of rows when it is not as long as it was."""
    if wrong := wrong_size(size, entry):
        raise FeatureStoreError(f"{place.where}/{shard_name(entry.index)}", wrong)


def wrong_size(size: int, entry: ShardEntry) -> str:
    """What is wrong with a file of this size; empty if nothing is."""
    return "" if size == entry.num_bytes else f"has {size} bytes instead of {entry.num_bytes}; {ANEW}"
