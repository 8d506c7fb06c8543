"""What a feature store holds, set by set; sets that are spoilt are told, and do not hide the others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from labelbench_ray.benchmark.lease import Holder
from labelbench_ray.errors import FeatureStoreError, SpecError
from labelbench_ray.features.copies import ALTERED, AT_ONCE, MISSING, copied
from labelbench_ray.features.files import ANEW, read_json, reading
from labelbench_ray.features.jobs import makers
from labelbench_ray.features.shard_file import ShardEntry, check_size, shard_name, wrong_size
from labelbench_ray.features.store import KEY, MANIFEST, FeatureStore, known_entries
from labelbench_ray.features.use import last_use
from labelbench_ray.fingerprint import checksum_of
from labelbench_ray.kernels.augment import View
from labelbench_ray.storage.place import Place


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """One set of features."""

    fingerprint: str
    """Name of its folder."""
    key: dict[str, Any]
    """What its numbers are; empty where that cannot be read."""
    complete: bool
    entries: tuple[ShardEntry, ...]
    """Its shards, as far as they are known."""
    num_missing: int
    """Shards among them whose file was deleted."""
    num_bytes: int
    copied_bytes: int | None
    """What this machine has copies of; None of what lies on a disk."""
    last_used: float | None
    """When it was last opened or written to, in seconds since 1970."""
    maker: Holder | None
    """The process that has it made at this moment."""
    problem: str = ""
    """What keeps it from being read, where something does."""

    @property
    def num_rows(self) -> int:
        """That are stored."""
        return sum(entry.last - entry.first for entry in self.entries)

    @property
    def width(self) -> int | None:
        """D, once a shard is there."""
        return self.entries[0].width if self.entries else None

    @property
    def num_undecodable(self) -> int:
        """Images that could not be decoded."""
        return sum(len(entry.undecodable) for entry in self.entries)


def contents(store: FeatureStore) -> list[StoredFeatures]:
    """Every set, complete or begun, by the name of its folder. Raises FeatureStoreError."""
    making = makers(store)
    with reading(store.place):
        now = store.place.now(f"*/{KEY}", f"*/{MANIFEST}")
        found = [(name, now.below(name)) for name in now.folders()]
        sets = [(name, place) for name, place in found if place.has(KEY)]
        return [_summary(name, place, making.get(name), _copied_bytes(store.place, place)) for name, place in sets]


def _copied_bytes(root: Place, place: Place) -> int | None:
    return sum(path.stat().st_size for path in copied(place)) if root.is_remote else None


def _summary(name: str, place: Place, maker: Holder | None, copied_bytes: int | None) -> StoredFeatures:
    sizes = place.sizes()
    key: dict[str, Any] = {}
    entries: tuple[ShardEntry, ...] = ()
    problem = ""
    try:
        key = _key(place)
        entries = known_entries(place, name)
        for entry in entries:
            check_size(place, entry, sizes.get(shard_name(entry.index), entry.num_bytes))
    except FeatureStoreError as error:
        problem = ": ".join(str(part) for part in error.args)
    num_missing = sum(shard_name(entry.index) not in sizes for entry in entries)
    return StoredFeatures(
        fingerprint=name,
        key=key,
        complete=place.has(MANIFEST) and not num_missing and not problem,
        entries=entries,
        num_missing=num_missing,
        num_bytes=sum(sizes.values()),
        copied_bytes=copied_bytes,
        last_used=last_use(place, sorted(sizes)),
        maker=maker,
        problem=problem,
    )


def _key(place: Place) -> dict[str, Any]:
    """What the numbers of a set are. Raises FeatureStoreError for a file that does not say it."""
    key: dict[str, Any] = read_json(place, KEY)
    try:
        says = bool(key["dataset"]["name"] and key["encoder"]["name"] and View(**key["view"]))
    except (LookupError, TypeError, SpecError):
        says = False
    if not says:
        raise FeatureStoreError(f"{place.where}/{KEY}", f"does not say what is stored; {ANEW}")
    return key


def wrong_shards(store: FeatureStore, stored: StoredFeatures) -> Iterator[tuple[str, str]]:
    """Files of a set that are not what they were, and what is wrong with each; all bytes are read.

    Of an object store those that lie there, and not this machine's copies.
    """
    place = store.place.below(stored.fingerprint)
    if not stored.entries and stored.problem:
        yield place.where, stored.problem
    with ThreadPoolExecutor(AT_ONCE if place.is_remote else 1) as threads:
        found = threads.map(partial(_what_is_wrong, place), stored.entries)
        for entry, wrong in zip(stored.entries, found, strict=True):
            if wrong:
                yield f"{place.where}/{shard_name(entry.index)}", wrong


def _what_is_wrong(place: Place, entry: ShardEntry) -> str:
    """Empty if nothing is. Raises FeatureStoreError where the file cannot be read."""
    name = shard_name(entry.index)
    with reading(place, name):
        try:
            data = place.read(name)
        except FileNotFoundError:
            return MISSING
    return wrong_size(len(data), entry) or ("" if checksum_of(data) == entry.checksum else ALTERED)
