"""Buy where the model is least sure: three scores of a row of probabilities, one pass over the pool.

Scores are made tile by tile where the probabilities are, and each shard keeps only its best rows, so no more than one
score per row is ever held. Ties go to the lowest id. No randomness is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.kernels.ranking import Ranked, k_smallest, merge_smallest
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import Needs, PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids

Certainty = Callable[[Floats], Floats]
"""(T, C) probabilities to (T,) scores; the lowest is bought first."""


def largest_probability(probs_NC: Floats) -> Floats:
    """(N,) probability of the predicted class."""
    return _widest(probs_NC.max(axis=1))


def top_two_gap(probs_NC: Floats) -> Floats:
    """(N,) difference between the two largest probabilities of each row, in [0, 1]; the only one where C = 1."""
    if probs_NC.shape[1] == 1:
        return _widest(probs_NC[:, 0])
    # A running two-max over columns: a sort or partition of short rows costs several times more.
    columns_CN = np.ascontiguousarray(probs_NC.T)
    first_N = np.maximum(columns_CN[0], columns_CN[1])
    second_N = np.minimum(columns_CN[0], columns_CN[1])
    for column_N in columns_CN[2:]:
        np.maximum(second_N, np.minimum(first_N, column_N), out=second_N)
        np.maximum(first_N, column_N, out=first_N)
    return _widest(first_N) - _widest(second_N)


def negative_entropy(probs_NC: Floats) -> Floats:
    """(N,) sum of p log p in nats, with 0 log 0 = 0."""
    logs_NC = np.zeros_like(probs_NC)
    np.log(probs_NC, out=logs_NC, where=probs_NC > 0)
    return _widest((probs_NC * logs_NC).sum(axis=1, dtype=np.float64))


def largest_probability_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of max(p, 1 - p)."""
    return _widest(np.maximum(probs_NC, 1 - probs_NC).mean(axis=1, dtype=np.float64))


def gap_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of |p - (1 - p)|."""
    return _widest(np.abs(2 * probs_NC - 1).mean(axis=1, dtype=np.float64))


def negative_entropy_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of p log p + (1 - p) log(1 - p)."""
    return _widest((negative_entropy(probs_NC) + negative_entropy(1 - probs_NC)) / probs_NC.shape[1])


def _widest(scores_N: Floats) -> Floats:
    wide_N: Floats = np.asarray(scores_N, np.float64)
    return wide_N


class UncertaintyWorker:
    """Scores the rows of one shard."""

    def __init__(self, rows: ShardRows, certainty: Certainty) -> None:
        self._rows = rows
        self._certainty = certainty

    def least_certain(self, k: int) -> Ranked:
        """The k rows of lowest score of this shard, or all that are for sale."""
        return merge_smallest(over_tiles(self._rows, lambda tile: self._least_certain_of(tile, k)), k)

    def _least_certain_of(self, tile: int, k: int) -> Ranked:
        scores_T = self._certainty(self._rows.probs(tile))
        inside = np.flatnonzero(self._rows.candidates(tile))
        return k_smallest(scores_T[inside], inside + self._rows.first_id(tile), k)


def _buy_least_certain(request: SelectionRequest, multi_class: Certainty, multi_label: Certainty) -> Ids:
    certainty = multi_label if request.task == "multi_label" else multi_class
    workers = request.spread(UncertaintyWorker, certainty)
    return merge_smallest(workers.each("least_certain", request.labels_to_buy), request.labels_to_buy).ids_K


def _least_memory(shape: PoolShape) -> int:
    return 16 * shape.tile_rows * shape.num_classes + 32 * shape.labels_to_buy


@dataclass(frozen=True, kw_only=True)
class LeastConfidence:
    """Buy the rows whose predicted class is least probable (Lewis & Gale, 1994)."""

    name: ClassVar[str] = "confidence"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by ascending largest probability."""
        return _buy_least_certain(request, largest_probability, largest_probability_per_label)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape)


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Buy the rows whose predictive distribution has the highest entropy (Settles, 2009)."""

    name: ClassVar[str] = "entropy"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by descending entropy."""
        return _buy_least_certain(request, negative_entropy, negative_entropy_per_label)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Buy the rows whose two most likely classes are closest (Scheffer et al., 2001)."""

    name: ClassVar[str] = "margin"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by ascending gap between the two largest probabilities."""
        return _buy_least_certain(request, top_two_gap, gap_per_label)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape)
