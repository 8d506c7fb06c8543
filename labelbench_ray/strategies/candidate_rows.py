"""Strategies in two steps: rows that a score lets through, then the most different of them by k-means."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.clusters import nearest_to_centres
from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.kernels.ranking import KSmallest, Ranked
from labelbench_ray.shards import ShardRows, Workers
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids

TileScore = Callable[[int, Floats], Floats]
"""A tile's number and its (T, D) embeddings to (T,) scores; a row of infinite score is no candidate. Pickles."""


class CandidateWorker:
    """Scores and hands over rows of one shard."""

    def __init__(self, rows: ShardRows) -> None:
        self._rows = rows

    def least(self, score: TileScore, k: int) -> Ranked:
        """The k candidates for sale of lowest score, or all there are."""
        best = KSmallest(k)

        def offer(tile: int) -> None:
            scores_T = score(tile, self._rows.embeddings(tile))
            places = np.flatnonzero(self._rows.candidates(tile) & (scores_T < np.inf))
            best.offer(scores_T[places], places + self._rows.first_id(tile))

        over_tiles(self._rows, offer)
        return best.ranked()

    def vectors(self, ids_Q: Ids) -> tuple[NDArray[np.int64], Floats]:
        """Which of these rows lie in this shard, by place, and their embeddings in float32."""
        owns = ids_Q // self._rows.tile_rows
        asked = [np.flatnonzero(owns == tile) for tile in self._rows.tiles()]
        parts = [np.empty((0, 0), np.float32)]
        for tile, places in zip(self._rows.tiles(), asked, strict=True):
            if len(places):
                parts.append(self._rows.embeddings(tile)[ids_Q[places] - self._rows.first_id(tile)].astype(np.float32))
        return np.concatenate(asked), np.concatenate(parts[1:] or parts)


def vectors(workers: Workers, ids_Q: Ids, width: int) -> Floats:
    """(Q, D) float32 embeddings of rows of any shard."""
    found_QD = np.empty((len(ids_Q), width), np.float32)
    for places, rows in workers.each("vectors", ids_Q):
        if len(places):
            found_QD[places] = rows
    return found_QD


def buy_most_different(
    request: SelectionRequest, workers: Workers, candidates: Ids, rng: np.random.Generator, *, unit_length: bool = False
) -> Ids:
    """The candidates nearest to the centres of as many clusters; all of them and a uniform draw where they are few."""
    missing = request.labels_to_buy - len(candidates)
    if missing >= 0:
        others = np.setdiff1d(request.candidate_ids(), candidates, assume_unique=True)
        return np.concatenate([candidates, rng.choice(others, missing, replace=False)])
    ids = np.sort(candidates)
    vectors_QD = vectors(workers, ids, request.width)
    if unit_length:
        lengths_Q1 = np.linalg.norm(vectors_QD, axis=1, keepdims=True)
        vectors_QD /= np.where(lengths_Q1 > 0, lengths_Q1, 1)
    return ids[nearest_to_centres(vectors_QD, request.labels_to_buy, rng)]


def most_candidates(labels_to_buy: int, max_candidates: int) -> int:
    """How many are clustered at most."""
    return max(max_candidates, 2 * labels_to_buy)


def candidates_memory(shape: PoolShape, max_candidates: int) -> int:
    """Bytes: ids of the pool, a tile with its logits, and candidates as k-means holds them."""
    held = min(shape.num_rows, most_candidates(shape.labels_to_buy, max_candidates))
    clustered = held * (12 * shape.width + 64) + 16 * shape.labels_to_buy * (shape.width + min(held, 256))
    tile = 8 * shape.tile_rows * (6 * shape.num_classes + 4 * shape.width)
    return 48 * shape.num_rows + tile + clustered
