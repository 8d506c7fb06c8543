"""What a worker makes of its tiles, kept between passes while it fits in memory; and room to copy rows to."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

from labelbench_ray.shards import ShardRows
from labelbench_ray.types import Floats, Ids

R = TypeVar("R")


class KeptTiles(Generic[R]):
    """``kept[tile]`` is ``make(tile)``, remembered for as many tiles of the shard as fit; the others are made anew.

    So a pass over a pool that fits in memory reads it once, and a larger one costs time, not memory. ``make`` has to
    give the same bits every time.
    """

    def __init__(self, rows: ShardRows, make: Callable[[int], R], bytes_per_tile: int, share: float = 1.0) -> None:
        """``share`` is the part of the shard's ``memory_bytes`` that these may take."""
        self._make = make
        self._tiles = rows.tiles()
        num_kept = int(share * rows.memory_bytes) // max(1, bytes_per_tile)
        self._kept: dict[int, R] = {}
        self._keep_before = self._tiles.start + num_kept

    def __getitem__(self, tile: int) -> R:
        made = self._kept.get(tile)
        if made is None:
            made = self._make(tile)
            if tile < self._keep_before:
                self._kept[tile] = made
        return made

    def __iter__(self) -> Iterator[R]:
        return (self[tile] for tile in self._tiles)

    @property
    def keeps_all(self) -> bool:
        """Every tile fits."""
        return self._keep_before >= self._tiles.stop


class Scratch(threading.local):
    """Room for rows of a block, one for each thread: to ask for new memory every time can cost as much as the copy."""

    def __init__(self) -> None:
        self._room: Floats = np.empty((0, 0))

    def copied(self, block: Floats, places: Ids) -> Floats:
        """The rows of a block at these places, to be spoilt; they last until the next call of this thread."""
        room = self._room
        if len(room) < len(places) or room.shape[1:] != block.shape[1:] or room.dtype != block.dtype:
            self._room = room = np.empty(block.shape, block.dtype)
        # With mode="raise" numpy would copy twice: it must not have touched the room when it raises.
        return np.take(block, places, axis=0, out=room[: len(places)], mode="clip")
