"""BADGE as LabelBench's published code draws it (commit 9e23393), row for row: slow, and with the whole pool at hand.

The law is that of k-means++ too, but distances carry the rounding of the expanded form, so a copy of a centre may still
be drawn. Where no mass is left the published code stops with an error; here the rest is drawn uniformly.
"""

import numpy as np

from labelbench_ray.kernels.gradients import residuals
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids, Task


def least_memory(shape: PoolShape) -> int:
    """Bytes: every row twice, as it arrives and joined, and a few numbers each."""
    return shape.num_rows * (16 * (shape.num_classes + shape.width) + 64)


def draw_as_published(request: SelectionRequest, legacy: np.random.RandomState) -> Ids:
    """Ids in the order they are drawn."""
    parts = request.spread(WholeRows, request.task).each("for_sale")
    ids, q_NC, v_ND = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    q_norms_N, v_norms_N = np.sum(q_NC**2, axis=-1), np.sum(v_ND**2, axis=-1)
    chosen = [int(np.argmax(q_norms_N * v_norms_N))]
    nearest_N = np.full(len(ids), np.inf)
    while len(chosen) < request.labels_to_buy:
        last = chosen[-1]
        products_N = (q_NC @ q_NC[last]) * (v_ND @ v_ND[last])
        squared_N = q_norms_N * v_norms_N + q_norms_N[last] * v_norms_N[last] - 2 * products_N
        nearest_N = np.minimum(nearest_N, np.sqrt(np.clip(squared_N, 0, None)).astype(np.float64))
        nearest_N[chosen] = 0
        if not nearest_N.any():
            others = np.delete(np.arange(len(ids)), chosen)
            chosen += legacy.permutation(others)[: request.labels_to_buy - len(chosen)].tolist()
            break
        chosen.append(_drawn(nearest_N**2, legacy.uniform()))
    return ids[chosen]


def _drawn(weights_N: Floats, uniform: float) -> int:
    """The row at which the cumulative sum of the chances reaches the uniform number; always one of some weight."""
    reached_N = np.cumsum(weights_N / np.cumsum(weights_N)[-1])  # a plain running sum: pairwise sums differ in bits
    place = np.searchsorted(reached_N, max(uniform, np.nextafter(0, 1)))
    return int(min(place, np.flatnonzero(weights_N)[-1]))


class WholeRows:
    """Hands out all rows of a shard that are for sale."""

    def __init__(self, rows: ShardRows, task: Task) -> None:
        self._rows = rows
        self._task = task

    def for_sale(self) -> tuple[Ids, Floats, Floats]:
        """Ids, q (in the precision of the probabilities) and v."""
        ids, qs, vectors = [], [], []
        for tile in self._rows.tiles():
            mask_T = self._rows.candidates(tile)
            probs_NC = self._rows.probs(tile)[mask_T]
            ids.append(self._rows.first_id(tile) + np.flatnonzero(mask_T))
            qs.append(residuals(probs_NC, self._task).astype(probs_NC.dtype))
            vectors.append(self._rows.embeddings(tile)[mask_T])
        return np.concatenate(ids), np.concatenate(qs), np.concatenate(vectors)
