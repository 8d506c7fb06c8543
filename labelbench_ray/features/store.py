"""The feature store: one folder per fingerprint, shards of contiguous ids, a manifest written last.

<root>/<fingerprint>/key.json            what the numbers are, in plain words
                     shard-00000.npy     rows 0 .. shard_rows-1
                     shard-00000.json    their entry: how many, checksum, weights, what could not be decoded
                     manifest.json       all entries; its presence means complete
"""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from labelbench_ray.errors import FeatureStoreError, UndecodableImageError
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.features.rows import StoredRows
from labelbench_ray.features.shard_file import (
    ShardEntry,
    check_size,
    entry_path,
    read_entry,
    read_json,
    shard_path,
    write_json,
)

MANIFEST = "manifest.json"
OnUndecodable = Literal["refuse", "skip"]
ABANDONED_S = 3600.0
"""Age at which a temporary file cannot belong to a process that still writes it."""


@dataclass(frozen=True, order=True)
class MissingShard:
    """Rows ``first .. last-1``, still to be embedded. As a table row: ``asdict(shard)`` and ``MissingShard(**row)``."""

    index: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """One folder of the store, as `labelbench features` shows it."""

    fingerprint: str
    complete: bool
    num_rows: int
    num_bytes: int
    key: dict[str, Any]


class FeatureStore:
    """Embeddings on a disk that every worker sees. Making one reads and writes nothing."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser()

    def folder(self, key: FeatureKey) -> Path:
        """Where the features of a key are, or would be."""
        return self.root / key.fingerprint()

    def is_complete(self, key: FeatureKey) -> bool:
        """Whether there is a manifest and no file of its shards was deleted.

        Raises FeatureStoreError for a shard that was cut short: better told now than by every trial that reads it.
        """
        folder = self.folder(key)
        if not (folder / MANIFEST).is_file():
            return False
        entries = self._read(folder.name).entries
        if not all(shard_path(folder, entry.index).is_file() for entry in entries):
            return False
        for entry in entries:
            check_size(folder, entry)
        return True

    def refuse_undecodable(self, key: FeatureKey) -> None:
        """Raises UndecodableImageError if images were skipped in the complete set of a key."""
        _refuse_undecodable(key, self._read(key.fingerprint()))

    def missing_shards(self, key: FeatureKey, num_rows: int) -> list[MissingShard]:
        """Shards that are not there yet, in order. Raises FeatureStoreError for one that is cut short."""
        folder = self.folder(key)
        return [shard for shard in expected_shards(key, num_rows) if read_entry(folder, shard.index) is None]

    def describe(self, key: FeatureKey) -> None:
        """Write down what the folder holds, before its first shard. Raises FeatureStoreError."""
        path = self.folder(key) / "key.json"
        if not path.is_file():
            write_json(path, key.told())

    def finish(self, key: FeatureKey, num_rows: int, on_undecodable: OnUndecodable = "refuse") -> StoredRows:
        """Check that all shards are there and belong together, write the manifest, and open the set.

        With ``refuse``, shards with undecodable images are dropped, so that they are tried again next time, and one
        UndecodableImageError names the first ids. Raises FeatureStoreError.
        """
        folder = self.folder(key)
        missing = self.missing_shards(key, num_rows)
        if missing:
            raise FeatureStoreError(folder, f"{len(missing)} shards are missing; embed again, which makes them")
        found = [read_entry(folder, shard.index) for shard in expected_shards(key, num_rows)]
        entries = tuple(entry for entry in found if entry is not None)
        _check_one_encoder(folder, entries)
        if on_undecodable == "refuse" and any(entry.undecodable for entry in entries):
            for entry in entries:
                if entry.undecodable:
                    entry_path(folder, entry.index).unlink(missing_ok=True)
            _refuse_undecodable(key, StoredRows(folder, entries))
        shards = [asdict(entry) for entry in entries]
        manifest = {"fingerprint": folder.name, "num_rows": num_rows, "key": key.told(), "shards": shards}
        write_json(folder / MANIFEST, manifest)
        _remove_abandoned(folder)
        return self.open(key, num_rows, on_undecodable)

    def open(
        self, key: FeatureKey, num_rows: int | None = None, on_undecodable: OnUndecodable = "refuse"
    ) -> StoredRows:
        """The rows of a complete set, every shard compared with its checksum.

        Raises FeatureStoreError naming the file that is missing, cut short or altered, and UndecodableImageError if
        images were skipped that ``refuse`` does not allow.
        """
        rows = self._read(key.fingerprint())
        if num_rows is not None and rows.shape[0] != num_rows:
            complaint = f"holds {rows.shape[0]} rows, the data set has {num_rows}; remove the folder and embed again"
            raise FeatureStoreError(rows.folder, complaint)
        if on_undecodable == "refuse":
            _refuse_undecodable(key, rows)
        rows.check()
        return rows

    def contents(self) -> list[StoredFeatures]:
        """Every set in the store, complete or begun."""
        return [self._summary(path.parent) for path in sorted(self.root.glob("*/key.json"))]

    def verify(self, fingerprint: str) -> StoredRows:
        """Compare every shard of a set with its checksum. Raises FeatureStoreError naming the first that is wrong."""
        rows = self._read(fingerprint)
        rows.check()
        return rows

    def remove(self, fingerprint: str) -> None:
        """Delete a set; its manifest goes first, so that what is left of it never looks complete."""
        folder = self._known(fingerprint)
        try:
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise FeatureStoreError(folder, f"cannot be removed ({error})") from error

    def _known(self, fingerprint: str) -> Path:
        """The folder of a set that is there: compared by name, so that no `..` leads out of the store."""
        for path in self.root.glob("*/key.json"):
            if path.parent.name == fingerprint:
                return path.parent
        raise FeatureStoreError(self.root / fingerprint, "is not there; see `labelbench features`")

    def _read(self, fingerprint: str) -> StoredRows:
        path = self.root / fingerprint / MANIFEST
        if not path.is_file():
            raise FeatureStoreError(path, "is not there, so the features are not complete; run `labelbench embed`")
        manifest = read_json(path)
        try:
            if manifest["fingerprint"] != fingerprint:
                raise ValueError("it belongs to other features")
            entries = tuple(ShardEntry.parse(plain) for plain in manifest["shards"])
        except (KeyError, TypeError, ValueError) as error:
            raise FeatureStoreError(path, f"is no manifest of this set ({error}); delete it and embed again") from None
        return StoredRows(path.parent, entries)

    def _summary(self, folder: Path) -> StoredFeatures:
        complete = (folder / MANIFEST).is_file()
        entries = [read_json(path) for path in folder.glob("shard-*.json")]
        return StoredFeatures(
            fingerprint=folder.name,
            complete=complete,
            num_rows=sum(entry["last"] - entry["first"] for entry in entries),
            num_bytes=sum(path.stat().st_size for path in folder.iterdir()),
            key=read_json(folder / "key.json"),
        )


def expected_shards(key: FeatureKey, num_rows: int) -> list[MissingShard]:
    """All shards of a split of this many rows."""
    starts = range(0, num_rows, key.shard_rows)
    return [MissingShard(index, first, min(first + key.shard_rows, num_rows)) for index, first in enumerate(starts)]


def _check_one_encoder(folder: Path, entries: tuple[ShardEntry, ...]) -> None:
    """All shards must come from the same weights: a tag may have moved, or a library draws random ones differently."""
    for what in ("weights", "width", "dtype"):
        first, *others = entries
        for entry in others:
            if getattr(entry, what) != getattr(first, what):
                complaint = f"was made with other {what} than shard 0; remove the folder {folder.name} and embed again"
                raise FeatureStoreError(shard_path(folder, entry.index), complaint)


def skipped_in_words(key: FeatureKey, rows: StoredRows) -> str:
    """Which images of a set are left out, and how many."""
    ids, source, reason = _undecodable_in_words(rows)
    return f"dataset {key.dataset.name}: image {ids} of {key.split} ({source}) cannot be decoded: {reason}; skipped"


def _refuse_undecodable(key: FeatureKey, rows: StoredRows) -> None:
    if rows.undecodable:
        raise UndecodableImageError(key.dataset.name, key.split, *_undecodable_in_words(rows))


def _undecodable_in_words(rows: StoredRows, shown: int = 5) -> tuple[str, str, str]:
    """The first ids, how many and the first source, the first reason."""
    bad = rows.undecodable
    ids = ", ".join(str(image.example_id) for image in bad[:shown]) + (", ..." if len(bad) > shown else "")
    source = bad[0].source if len(bad) == 1 else f"{len(bad)} in all, the first is {bad[0].source}"
    return ids, source, bad[0].reason


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob("*.tmp"):
        if time.time() - path.stat().st_mtime > ABANDONED_S:
            path.unlink(missing_ok=True)
