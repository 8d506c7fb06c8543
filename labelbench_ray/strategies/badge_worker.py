"""What BADGE does on one shard of the pool: keep a weight for every row, and judge its part of the candidates."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.centres import Centres
from labelbench_ray.kernels.falls import COLUMNS, Falls, falls, merged, shares
from labelbench_ray.kernels.gradients import SLACK, Gradients, length_bounds
from labelbench_ray.kernels.k_means_pp import TileOperands, draw_places, lowered_weights
from labelbench_ray.kernels.products import over_tiles, single_threaded
from labelbench_ray.kernels.tiles import KeptTiles
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape
from labelbench_ray.types import Floats, Ids, Task

BLOCK = 4096
"""Most candidates drawn at a time."""

FEWEST = 32
"""Candidates of the first block: the first weights say little, so most would be rejected."""


def largest_block(labels_to_buy: int) -> int:
    """Most candidates drawn at a time for a selection of this size."""
    return min(BLOCK, labels_to_buy + FEWEST)


class Drawn(NamedTuple):
    """Rows drawn from the weights, with them."""

    rows: Gradients
    weights_S: Floats


class GradientWorker:
    """Weighs the rows of a shard: never below the squared distance to the nearest centre.

    Before there is a centre a weight bounds the row's own squared length. Rows that are not for sale, or chosen, weigh
    0. Every worker holds all centres, and judges an equal part of the candidates, of whatever shard.
    """

    def __init__(self, rows: ShardRows, task: Task, capacity: int) -> None:
        self._rows = rows
        self._task = task
        self._centres = Centres(capacity, task)
        scores = (rows.probabilities, rows.representations)
        per_row = sum(4 * width for width in (getattr(scores[0], "num_classes", 0), getattr(scores[1], "width", 0)))
        self._tiles = KeptTiles(rows, self._read, per_row * rows.tile_rows, share=0.5)
        self._first = rows.first_id(rows.shard.first_tile)
        bounds = over_tiles(rows, lambda tile: length_bounds(*self._tiles[tile], task))
        self._for_sale = np.array([rows.candidates(tile) for tile in rows.tiles()])
        self._least = np.inf
        self._lengths = np.sqrt(np.array(bounds))
        self._weights: Floats = np.where(self._for_sale, np.array(bounds), 0.0)

    @staticmethod
    def least_memory(shape: PoolShape) -> int:
        """Bytes for one worker: 32 a row of the pool, 12 an entry of a row held, and a block as it is judged."""
        held = shape.labels_to_buy + largest_block(shape.labels_to_buy)
        judged = 2 * largest_block(shape.labels_to_buy) * (shape.num_classes + shape.width + COLUMNS)
        tile = 2 * shape.tile_rows * (shape.num_classes + shape.width)
        return 32 * shape.num_rows + 12 * held * (shape.num_classes + shape.width) + 8 * (judged + tile)

    def _read(self, tile: int) -> tuple[Floats, Floats]:
        return self._rows.probs(tile), self._rows.embeddings(tile)

    def sums(self) -> Floats:
        """The weight of each tile of this shard."""
        sums: Floats = self._weights.sum(axis=1)
        return sums

    def largest(self) -> Gradients | None:
        """The row for sale of largest a, ties to the lowest id; None where nothing is for sale."""
        if not self._for_sale.any():
            return None
        bounds = np.where(self._for_sale, self._weights, -1.0).ravel()
        best = self._gradients(np.array([bounds.argmax()]))
        for places in self._by_tile(np.flatnonzero(bounds >= best.a[0])):
            rows = self._gradients(places)
            top = rows.take(np.array([rows.a.argmax()]))
            if (-top.a[0], top.ids_N[0]) < (-best.a[0], best.ids_N[0]):
                best = top
        return best

    def start(self, first: Gradients, a: float) -> Floats:
        """The first centre is there: weigh by the distance that lengths allow."""
        self._centres.lay(first)
        self._centres.keep(np.zeros(1, np.int64))
        self._weights = np.where(self._for_sale, np.inf, 0.0)
        return self.settle(first.ids_N, np.empty(0, np.int64), np.empty(0), a)

    def settle(self, chosen: Ids, rejected: Ids, distances: Floats, least: float) -> Floats:
        """Take in what a block brought, of any shard, and the least a of a centre; tell the sums."""
        weights = self._weights.ravel()
        if least < self._least:
            self._least = least
            np.minimum(weights, (self._lengths.ravel() + np.sqrt(least)) ** 2 * (1 + SLACK), out=weights)
        inside = self._is_mine(rejected)
        np.minimum.at(weights, rejected[inside] - self._first, distances[inside])
        weights[chosen[self._is_mine(chosen)] - self._first] = 0.0
        return self.sums()

    def draw(self, tiles_S: NDArray[np.int64], uniforms_S: Floats) -> Drawn:
        """One row for each entry of ``tiles_S`` that names a tile of this shard, in that order."""
        shard = self._rows.shard
        mine = (tiles_S >= shard.first_tile) & (tiles_S < shard.last_tile)
        tiles, uniforms = tiles_S[mine] - shard.first_tile, uniforms_S[mine]
        places = np.empty(len(tiles), np.int64)
        for own in np.unique(tiles):
            asked = tiles == own
            places[asked] = own * self._rows.tile_rows + draw_places(self._weights[own], uniforms[asked])
        return Drawn(self._gradients(places), self._weights.ravel()[places])

    def judge(self, accepted: NDArray[np.int64], block: Gradients, thresholds_S: Floats, num_workers: int) -> Falls:
        """Make the accepted candidates of the last block centres, and judge this worker's part of the next."""
        threads, own = max(1, self._rows.threads), self._rows.shard.index
        with single_threaded():
            self._centres.keep(accepted)
            self._centres.lay(block, self._rows.on_threads)
            mine = shares(self._centres, num_workers * threads)[own * threads : (own + 1) * threads]
            return merged(self._rows.on_threads(lambda share: falls(self._centres, thresholds_S, share), mine))

    def refresh(self, accepted: NDArray[np.int64]) -> Floats:
        """Bring all weights up to date, and forget the centres, which they now know."""
        self._centres.keep(accepted)
        centres = self._centres.rows.take(np.arange(self._centres.count))

        def lowered(tile: int) -> Floats:
            first = self._rows.first_id(tile)
            rows = Gradients.of(np.arange(first, first + self._rows.tile_rows), *self._tiles[tile], self._task)
            weights_T = self._weights[tile - self._rows.shard.first_tile]
            return lowered_weights(weights_T, TileOperands.of(rows, self._task, self._rows.device), centres, self._task)

        self._weights = np.array(over_tiles(self._rows, lowered))
        self._centres.forget()
        return self.sums()

    def _is_mine(self, ids: Ids) -> NDArray[np.bool_]:
        return (ids >= self._first) & (ids < self._first + self._weights.size)

    def _by_tile(self, places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        borders = np.flatnonzero(np.diff(places // self._rows.tile_rows)) + 1
        return np.split(places, borders)

    def _gradients(self, places: NDArray[np.int64]) -> Gradients:
        """Rows of the shard, read tile by tile."""
        owns = places // self._rows.tile_rows
        probs_TC, vectors_TD = self._tiles[self._rows.shard.first_tile]
        probs = np.empty((len(places), probs_TC.shape[1]), probs_TC.dtype)
        vectors = np.empty((len(places), vectors_TD.shape[1]), vectors_TD.dtype)

        def copy(own: np.int64) -> None:
            asked = np.flatnonzero(owns == own)
            rows = places[asked] - own * self._rows.tile_rows
            probs_TC, vectors_TD = self._tiles[self._rows.shard.first_tile + int(own)]
            probs[asked], vectors[asked] = probs_TC[rows], vectors_TD[rows]

        self._rows.on_threads(copy, np.unique(owns))
        return Gradients.of(self._first + places, probs, vectors, self._task)
