"""CoreSet as LabelBench's published code buys it (commit 9e23393), row for row: slow, and with the whole pool at hand.

Distances are scikit-learn's, rounded to the precision of the embeddings, so near ties may fall otherwise than by the
definition. The published code can buy a row again once all are at distance 0; here a chosen row leaves the pool.
"""

import numpy as np

from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids

DISTANCES_MIB = 64
"""Memory of the distances to the bought rows that are held at once."""


def least_memory(shape: PoolShape) -> int:
    """Bytes: every row as it arrives, joined, and those for sale; distances; and what scikit-learn widens at once."""
    return shape.num_rows * (24 * shape.width + 64) + (DISTANCES_MIB << 22)


def cover_as_published(request: SelectionRequest) -> Ids:
    """Ids in the order they are bought."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    embeddings_ND = np.concatenate(request.spread(AllRows).each("embeddings"))
    ids = request.candidate_ids()
    with threadpool_limits(limits=1):  # the bits of a product depend on how many threads share it
        places = _farthest_first(embeddings_ND[ids], embeddings_ND[request.ids_L], request.labels_to_buy)
    return ids[places]


def _farthest_first(rows_ND: Floats, bought_LD: Floats, count: int) -> list[int]:
    from sklearn.metrics import pairwise_distances

    nearest_N = _distances_to_nearest(rows_ND, bought_LD)
    chosen: list[int] = []
    while len(chosen) < count:
        best = int(nearest_N.argmax())
        chosen.append(best)
        nearest_N = np.minimum(nearest_N, pairwise_distances(rows_ND, rows_ND[[best]])[:, 0])
        nearest_N[best] = -np.inf  # stays: it is its own minimum
    return chosen


def _distances_to_nearest(rows_ND: Floats, bought_LD: Floats) -> Floats:
    from sklearn.metrics import pairwise_distances_chunked

    if not len(bought_LD):
        return np.full(len(rows_ND), np.inf)
    chunks = pairwise_distances_chunked(
        rows_ND, bought_LD, reduce_func=lambda part, _: part.min(axis=1), working_memory=DISTANCES_MIB
    )
    return np.concatenate(list(chunks))


class AllRows:
    """Hands out all rows of a shard."""

    def __init__(self, rows: ShardRows) -> None:
        self._rows = rows

    def embeddings(self) -> Floats:
        """(rows of the shard, D) by ascending id, without what pads the last tile."""
        parts = [self._rows.embeddings(tile) for tile in self._rows.tiles()]
        first = self._rows.first_id(self._rows.shard.first_tile)
        return np.concatenate(parts)[: self._rows.num_rows - first]
