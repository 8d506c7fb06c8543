"""The pool cut into tiles and shards, and one worker per shard.

Tiles make every number independent of how many shards or threads there are: tile t is always the pool ids
``t*T .. (t+1)*T-1``, bought rows are masked and never compacted, the last tile is padded with zero rows, a product has
the same operand shape in every tile, and sums are folded in tile order. A shard owns whole tiles.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.errors import SelectionError
from labelbench_ray.types import Floats, Ids

R = TypeVar("R")

DEFAULT_MEMORY_BYTES = 4 << 30
"""What the selection of one trial may keep in memory if nothing is said."""


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
    _checked: set[tuple[str, int]] = field(default_factory=set, repr=False)
    """What was read before, and so need not be checked again."""

    def tiles(self) -> range:
        """Global numbers of the tiles this shard owns."""
        return self.shard.tiles()

    def first_id(self, tile: int) -> int:
        """Pool id of the tile's first row."""
        return tile * self.tile_rows

    def candidates(self, tile: int) -> NDArray[np.bool_]:
        """(T,) true where the row exists and is for sale."""
        first = self.first_id(tile)
        mask = np.zeros(self.tile_rows, bool)
        mask[: max(0, min(self.tile_rows, self.num_rows - first))] = True
        inside = self.taken_ids[(self.taken_ids >= first) & (self.taken_ids < first + self.tile_rows)]
        mask[inside - first] = False
        return mask

    def probs(self, tile: int) -> Floats:
        """(T, C) probabilities of a tile. Raises SelectionError if the strategy did not declare that it reads them."""
        if self.probabilities is None:
            raise SelectionError("", "reads probabilities without declaring `Needs(probabilities=True)`")
        probs_TC = self.probabilities.probs(tile)
        self._check(probs_TC, tile, self.probabilities.num_classes, "probability")
        return probs_TC

    def embeddings(self, tile: int) -> Floats:
        """(T, D) embeddings of a tile. Raises SelectionError if the strategy did not declare that it reads them."""
        if self.representations is None:
            raise SelectionError("", "reads embeddings without declaring `Needs(embeddings=True)`")
        embeddings_TD = self.representations.embeddings(tile)
        self._check(embeddings_TD, tile, self.representations.width, "embedding")
        return embeddings_TD

    def map_tiles(self, work: Callable[[int], R]) -> list[R]:
        """``work(tile)`` for each tile, by threads, results in tile order."""
        if self.threads <= 1:
            return [work(tile) for tile in self.tiles()]
        with ThreadPoolExecutor(self.threads) as threads:
            return list(threads.map(work, self.tiles()))

    def _check(self, rows: Floats, tile: int, width: int, what: str) -> None:
        """Once per tile: a NaN would sort anywhere, and the selection would look fine."""
        if (what, tile) in self._checked:
            return
        if rows.shape != (self.tile_rows, width):
            told = f"{what} rows of tile {tile} have shape {rows.shape}, expected {(self.tile_rows, width)}"
            raise SelectionError("", told)
        with np.errstate(invalid="ignore", over="ignore"):
            total = rows.sum()  # one sum tells, and only then the row is sought
        if not np.isfinite(total):
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if bad.size:
                raise SelectionError("", f"{what} of example {self.first_id(tile) + int(bad[0])} is NaN or infinite")
        self._checked.add((what, tile))


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
