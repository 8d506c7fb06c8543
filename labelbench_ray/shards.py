"""The pool cut into tiles and shards, and one worker per shard.

Tiles make every number independent of how many shards or threads there are: tile t is always the pool ids
``t*T .. (t+1)*T-1``, bought rows are masked and never compacted, the last tile is padded with zero rows, a product has
the same operand shape in every tile, and sums are folded in tile order. A shard owns whole tiles.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.errors import SelectionError
from labelbench_ray.types import Floats, Ids

A = TypeVar("A")
R = TypeVar("R")

DEFAULT_MEMORY_BYTES = 4 << 30
"""What the selection of one trial may keep in memory if nothing is said."""

BLOCK_BYTES = 1 << 21
"""Of a block of rows: small enough to stay in the processor's cache, large enough that calls cost little."""


class Scores(Protocol):
    """What a trained model says of every row of a split, tile by tile. Cheap to pickle: it maps files."""

    @property
    def num_rows(self) -> int:
        """N."""
        ...

    @property
    def tile_rows(self) -> int:
        """T."""
        ...

    @property
    def num_classes(self) -> int:
        """C."""
        ...

    @property
    def width(self) -> int:
        """D."""
        ...

    def probs(self, tile: int) -> Floats:
        """(T, C) probabilities; padded rows are arbitrary but finite."""
        ...

    def embeddings(self, tile: int) -> Floats:
        """(T, D) input of the last layer; padded rows are arbitrary but finite."""
        ...


@dataclass(frozen=True)
class Shard:
    """Tiles ``first_tile .. last_tile-1`` of a pool."""

    index: int
    first_tile: int
    last_tile: int

    def tiles(self) -> range:
        """Its tiles, in order."""
        return range(self.first_tile, self.last_tile)


def cut_into_shards(num_rows: int, tile_rows: int, num_shards: int) -> tuple[Shard, ...]:
    """At most ``num_shards`` shards of whole tiles, sizes differing by at most one tile, none empty."""
    num_tiles = max(1, -(-num_rows // tile_rows))
    count = max(1, min(num_shards, num_tiles))
    borders = [num_tiles * i // count for i in range(count + 1)]
    return tuple(Shard(i, borders[i], borders[i + 1]) for i in range(count))


@dataclass(frozen=True, eq=False)
class ShardRows:
    """The rows of one shard, as its worker sees them: scores of its tiles and which rows are still for sale.

    ``taken_ids`` are the labelled rows and the excluded ones. ``memory_bytes`` is what its worker may keep between
    passes, ``device`` where it multiplies.
    """

    shard: Shard
    num_rows: int
    tile_rows: int
    taken_ids: Ids
    probabilities: Scores | None
    representations: Scores | None
    threads: int = 1
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    device: str = "cpu"
    _finite: set[tuple[str, int]] = field(default_factory=set, repr=False)
    """What was read before, and so need not be checked again."""

    def tiles(self) -> range:
        """Global numbers of the tiles this shard owns."""
        return self.shard.tiles()

    def first_id(self, tile: int) -> int:
        """Pool id of the tile's first row."""
        return tile * self.tile_rows

    def candidates(self, tile: int) -> NDArray[np.bool_]:
        """(T,) true where the row exists and is for sale. Not to be written to."""
        first = (tile - self.shard.first_tile) * self.tile_rows
        return self._for_sale[first : first + self.tile_rows]

    @cached_property
    def _for_sale(self) -> NDArray[np.bool_]:
        """The same of all tiles of the shard, one after another."""
        first = self.first_id(self.shard.first_tile)
        mask = np.zeros(len(self.tiles()) * self.tile_rows, bool)
        mask[: self.num_rows - first] = True
        mask[self.taken_ids[(self.taken_ids >= first) & (self.taken_ids < first + len(mask))] - first] = False
        mask.setflags(write=False)
        return mask

    def probs(self, tile: int) -> Floats:
        """(T, C) probabilities of a tile. Raises SelectionError if the strategy did not declare that it reads them."""
        return self._checked(self._read_probs(tile), tile, "probability")

    def probs_in_blocks(self, tile: int, *, checked: bool = True) -> Iterator[Floats]:
        """The same a few rows at a time, in order, for who reads them once.

        A block is checked when it is handed out, and so still lies in the processor's cache when it is used. Who makes
        numbers of them that are NaN or infinite where a probability is can leave the check out (``checked=False``),
        and call ``probs`` when there is such a number: it finds the row, if it is the row's fault.
        """
        probs_TC = self._read_probs(tile)
        return self._checked_blocks(probs_TC, tile, "probability") if checked else _blocks(probs_TC)

    def embeddings(self, tile: int) -> Floats:
        """(T, D) embeddings of a tile. Raises SelectionError if the strategy did not declare that it reads them."""
        if self.representations is None:
            raise SelectionError("", "reads embeddings without declaring `Needs(embeddings=True)`")
        embeddings_TD = self.representations.embeddings(tile)
        self._check_shape(embeddings_TD, tile, self.representations.width, "embedding")
        return self._checked(embeddings_TD, tile, "embedding")

    def map_tiles(self, work: Callable[[int], R]) -> list[R]:
        """``work(tile)`` for each tile, by threads, results in tile order."""
        return self.on_threads(work, self.tiles())

    def on_threads(self, work: Callable[[A], R], parts: Iterable[A]) -> list[R]:
        """``work(part)`` for each part, by threads, results in the order of the parts."""
        if self.threads <= 1:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(self.threads) as threads:
            return list(threads.map(work, parts))

    def _read_probs(self, tile: int) -> Floats:
        if self.probabilities is None:
            raise SelectionError("", "reads probabilities without declaring `Needs(probabilities=True)`")
        probs_TC = self.probabilities.probs(tile)
        self._check_shape(probs_TC, tile, self.probabilities.num_classes, "probability")
        return probs_TC

    def _check_shape(self, rows: Floats, tile: int, width: int, what: str) -> None:
        if rows.shape != (self.tile_rows, width):
            told = f"{what} rows of tile {tile} have shape {rows.shape}, expected {(self.tile_rows, width)}"
            raise SelectionError("", told)

    def _checked(self, rows: Floats, tile: int, what: str) -> Floats:
        if (what, tile) not in self._finite:
            for _ in self._checked_blocks(rows, tile, what):
                pass
        return rows

    def _checked_blocks(self, rows: Floats, tile: int, what: str) -> Iterator[Floats]:
        """Once per tile: a NaN would sort anywhere, and the selection would look fine."""
        known, first = (what, tile) in self._finite, self.first_id(tile)
        for block in _blocks(rows):
            if not known and not _surely_finite(block):
                bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
                if bad.size:
                    raise SelectionError("", f"{what} of example {first + int(bad[0])} is NaN or infinite")
            yield block
            first += len(block)
        self._finite.add((what, tile))


def _blocks(rows: Floats) -> Iterator[Floats]:
    rows_at_once = max(1, BLOCK_BYTES * len(rows) // max(1, rows.nbytes))
    return (rows[first : first + rows_at_once] for first in range(0, len(rows), rows_at_once))


def _surely_finite(rows: Floats) -> bool:
    """One sum of squares tells, for no two infinities cancel in it; False also where it overflows."""
    runs = rows.reshape(-1, max(rows.shape))  # long ones: a sum of ten costs as much as one of hundreds
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.vecdot(runs, runs).sum())


class Workers(Protocol):
    """One worker per shard. Results come in shard order whatever finishes first."""

    @property
    def shards(self) -> Sequence[Shard]:
        """What each worker owns."""
        ...

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call the method of every worker with the same arguments."""
        ...

    def one(self, index: int, method: str, *arguments: Any) -> Any:
        """Call the method of the worker of shard ``index``."""
        ...


class Spread(Protocol):
    """Makes the workers: ``spread(WorkerClass, *arguments)`` builds one ``WorkerClass(rows, *arguments)`` per shard."""

    def __call__(self, worker: Callable[..., Any], *arguments: Any) -> Workers:
        """Workers ready to be called."""
        ...


def owner_of(shards: Sequence[Shard], tile: int) -> int:
    """Index of the shard that owns a tile."""
    return next(shard.index for shard in shards if shard.first_tile <= tile < shard.last_tile)


class LocalWorkers:
    """Workers that live in this process."""

    def __init__(self, shards: Sequence[Shard], workers: Sequence[Any]) -> None:
        self.shards = shards
        self._workers = workers

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call the method of every worker, one after another."""
        return [getattr(worker, method)(*arguments) for worker in self._workers]

    def one(self, index: int, method: str, *arguments: Any) -> Any:
        """Call the method of one worker."""
        return getattr(self._workers[index], method)(*arguments)


def spread_locally(rows: Sequence[ShardRows]) -> Spread:
    """A Spread whose workers live in this process."""

    def spread(worker: Callable[..., Any], *arguments: Any) -> Workers:
        return LocalWorkers([part.shard for part in rows], [worker(part, *arguments) for part in rows])

    return spread
