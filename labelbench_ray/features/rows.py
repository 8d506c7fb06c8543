"""Stored features read by id, memory-mapped: the ``types.Rows`` of a complete set."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.features.copies import AT_ONCE, local_file
from labelbench_ray.features.shard_file import ShardEntry, Undecodable
from labelbench_ray.features.stages import merged
from labelbench_ray.storage.place import Place
from labelbench_ray.types import Floats, Ids


class StoredRows:
    """(N, D) rows of a complete set of features.

    Cheap to pickle: it travels as a path or address with its manifest and maps the files anew where it arrives; what
    lies in an object store is copied to that machine first, if nobody did yet. Every process compares a shard with its
    checksum before it first reads from it.
    """

    def __init__(self, place: Place, entries: tuple[ShardEntry, ...]) -> None:
        self.place = place
        self.entries = entries
        self._firsts: NDArray[np.int64] = np.array([entry.first for entry in entries], np.int64)
        self._mapped: dict[int, Floats] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return self.entries[-1].last, self.entries[-1].width

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return np.dtype(self.entries[0].dtype)

    @property
    def undecodable(self) -> tuple[Undecodable, ...]:
        """Examples without an image: their rows are zero."""
        return tuple(image for entry in self.entries for image in entry.undecodable)

    @property
    def skipped_ids(self) -> Ids:
        """Ids of ``undecodable``, ascending; they are never for sale."""
        return np.array(sorted(image.example_id for image in self.undecodable), np.int64)

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time of making it went, by stage (see stages.py)."""
        return merged(entry.seconds for entry in self.entries)

    @property
    def made_with(self) -> tuple[str, ...]:
        """The kinds of machine that made the shards; more than one if an embedding went on elsewhere."""
        return tuple(sorted({entry.made_with for entry in self.entries}))

    def slice(self, first: int, last: int) -> Floats:
        """Rows ``first..last-1``, read-only: a view of the file inside one shard, a copy across a border."""
        assert 0 <= first <= last <= self.shape[0], f"rows {first}..{last} of {self.shape[0]}"
        start, end = self._shard_of(first), self._shard_of(max(first, last - 1))
        parts = [self._part(index, first, last) for index in range(start, end + 1)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def blocks(self) -> list[Floats]:
        """The rows of each shard, in order, read-only and without a copy."""
        return [self._shard(index) for index in range(len(self.entries))]

    def take(self, ids: Ids) -> Floats:
        """A copy of the rows of these ids, in this order."""
        ids = np.asarray(ids, np.int64)
        assert ids.size == 0 or (ids.min() >= 0 and ids.max() < self.shape[0]), "id outside the split"
        taken = np.empty((len(ids), self.shape[1]), self.dtype)
        shard_of = np.searchsorted(self._firsts, ids, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        touched, starts = np.unique(shard_of[order], return_index=True)
        for index, positions in zip(touched, np.split(order, starts[1:]), strict=False):
            taken[positions] = self._shard(int(index))[ids[positions] - self._firsts[index]]
        return taken

    def check(self) -> None:
        """Compare every shard with size and checksum, here after copying it. Raises FeatureStoreError naming the file.

        On a disk one after another: a trial has its own number of threads, and is not lent more.
        """
        with ThreadPoolExecutor(AT_ONCE if self.place.is_remote else 1) as threads:
            list(threads.map(self._shard, range(len(self.entries))))

    def _part(self, index: int, first: int, last: int) -> Floats:
        offset = int(self._firsts[index])
        return self._shard(index)[max(0, first - offset) : last - offset]

    def _shard_of(self, row: int) -> int:
        return max(0, int(np.searchsorted(self._firsts, row, side="right")) - 1)

    def _shard(self, index: int) -> Floats:
        if index not in self._mapped:
            path = local_file(self.place, self.entries[index])
            self._mapped[index] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return self._mapped[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self.place, self.entries)
