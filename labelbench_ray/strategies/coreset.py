"""CoreSet: cover the pool, by greedy k-center on embeddings (Sener & Savarese, 2018, algorithm 1)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.kernels.k_center import Centres, Outsider, Proposal, lower_bounds, pick_greedily
from labelbench_ray.kernels.products import operand, over_tiles, squared_norms
from labelbench_ray.kernels.ranking import k_smallest
from labelbench_ray.shards import ShardRows, Workers
from labelbench_ray.strategies.base import Needs, PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids

PROPOSED_PER_BATCH = 512
"""Rows looked at closely between two passes over the pool, over all shards. Changes the time, not the answer."""


@dataclass(frozen=True, kw_only=True)
class CoreSet:
    """Buy, one after another, the row farthest from all rows bought or chosen so far. Ties go to the lowest id.

    Where nothing is bought yet every row is infinitely far, so the lowest id for sale comes first. Uses no randomness.
    """

    name: ClassVar[str] = "coreset"
    needs: ClassVar[Needs] = Needs(embeddings=True)

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids in the order of the greedy cover."""
        workers = request.spread(CoverWorker)
        centres_LD = vectors_of(workers, request)
        added_BD = centres_LD
        known: dict[int, tuple[float, int]] = {}
        chosen: list[int] = []
        new_ids = np.empty(0, np.int64)
        lowered: tuple[Ids, Floats] = (np.empty(0, np.int64), np.empty(0))
        propose = -(-PROPOSED_PER_BATCH // len(workers.shards))
        while len(chosen) < request.labels_to_buy:
            proposals = workers.each("propose", propose, new_ids, added_BD, *lowered)
            left = request.labels_to_buy - len(chosen)
            picked = pick_greedily(proposals, centres_LD, known, left)
            added_BD = _vectors(proposals, picked.ids, centres_LD.shape[1])
            centres_LD = np.concatenate([centres_LD, added_BD])
            chosen += picked.ids
            new_ids = np.array(picked.ids, np.int64)
            lowered = (picked.ids_M, picked.bounds_M)
        return np.array(chosen, np.int64)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a bound and an id a row."""
        return 16 * shape.num_rows


def vectors_of(workers: Workers, request: SelectionRequest) -> Floats:
    """(L, D) embeddings of the bought rows, in the order they were bought."""
    parts = workers.each("vectors", request.ids_L)
    vectors_LD = np.zeros((len(request.ids_L), parts[0][1].shape[1]), np.float32)
    for places, vectors in parts:
        vectors_LD[places] = vectors
    return vectors_LD


def _vectors(proposals: list[Proposal], ids: list[int], width: int) -> Floats:
    of = {int(row): vector for part in proposals for row, vector in zip(part.ids_M, part.vectors_MD, strict=True)}
    return np.array([of[row] for row in ids], np.float32).reshape(len(ids), width)


class CoverWorker:
    """Keeps, for each row of a shard, a bound on its squared distance to the nearest centre."""

    def __init__(self, rows: ShardRows) -> None:
        self._rows = rows
        self._first = rows.first_id(rows.shard.first_tile)
        self._tiles = over_tiles(rows, lambda tile: operand(rows.embeddings(tile)))
        self._norms = [squared_norms(tile.numpy()) for tile in self._tiles]
        for_sale = [rows.candidates(tile) for tile in rows.tiles()]
        # -inf: never proposed. A chosen row's bound falls to 0 like any other's, so it has to be struck off as well.
        self._bounds = [np.where(mask, np.inf, -np.inf) for mask in for_sale]

    def vectors(self, ids: Ids) -> tuple[Ids, Floats]:
        """Places in ``ids`` of the rows that lie in this shard, and their embeddings."""
        count = len(self._tiles) * self._rows.tile_rows
        places = np.flatnonzero((ids >= self._first) & (ids < self._first + count))
        return places, self._vectors_of(ids[places])

    def propose(self, count: int, chosen: Ids, added_BD: Floats, lowered_ids: Ids, lowered: Floats) -> Proposal:
        """Take in what the last batch found, then name the ``count`` rows of largest bounds.

        ``chosen`` are the rows picked by the last batch, ``added_BD`` the embeddings of the centres it added (at first:
        the bought rows), and ``lowered`` its bounds of the rows ``lowered_ids``; all of any shard.
        """
        bounds = self._update(chosen, added_BD, lowered_ids, lowered)
        ids = np.arange(self._first, self._first + len(bounds))
        for_sale = bounds > -np.inf
        ranked = k_smallest(-bounds[for_sale], ids[for_sale], count + 1)
        others = Outsider(-np.inf, -1)
        if len(ranked.ids_K) > count:
            others = Outsider(-float(ranked.scores_K[count]), int(ranked.ids_K[count]))
        best_ids = ranked.ids_K[:count]
        return Proposal(best_ids, -ranked.scores_K[:count], self._vectors_of(best_ids), others)

    def _update(self, chosen: Ids, added_BD: Floats, lowered_ids: Ids, lowered: Floats) -> Floats:
        if len(added_BD):
            centres = Centres(added_BD)
            first = self._rows.shard.first_tile
            self._bounds = over_tiles(self._rows, lambda tile: self._lower(tile - first, centres))
        bounds = np.concatenate(self._bounds)
        self._lay(bounds, lowered_ids, lowered)
        self._lay(bounds, chosen, np.full(len(chosen), -np.inf))
        self._bounds = np.split(bounds, len(self._tiles))
        return bounds

    def _lower(self, tile: int, centres: Centres) -> Floats:
        return lower_bounds(self._bounds[tile], self._tiles[tile], self._norms[tile], centres)

    def _lay(self, bounds: Floats, ids: Ids, values: Floats) -> None:
        inside = (ids >= self._first) & (ids < self._first + len(bounds))
        places = ids[inside] - self._first
        bounds[places] = np.minimum(bounds[places], values[inside])

    def _vectors_of(self, ids: Ids) -> Floats:
        vectors_MD = np.empty((len(ids), self._tiles[0].shape[1]), np.float32)
        for vector_D, place in zip(vectors_MD, ids - self._first, strict=True):
            tile, row = divmod(int(place), self._rows.tile_rows)
            vector_D[:] = self._tiles[tile][row].numpy()
        return vectors_MD
