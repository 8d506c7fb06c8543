"""Margin, confidence and entropy as LabelBench's published code ranks them (commit 9e23393), list for list.

What differs from the definitions: numpy's default sort is not stable, so ties go to whom they may (and need not fall
alike on another processor); two classes are scored |p0 - 1/2| by all three; the logarithm is to base two, of no less
than 1e-10; sums are taken in the dtype of the probabilities; a multi_label pool is scored like any other.
"""

from collections.abc import Callable

import numpy as np

from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids


def published_margin(probs_NC: Floats) -> Floats:
    """(N,) gap between the two largest probabilities."""
    if probs_NC.shape[1] <= 2:
        return _from_even(probs_NC)
    ordered_NC = np.sort(probs_NC, axis=1)
    gaps_N: Floats = ordered_NC[:, -1] - ordered_NC[:, -2]
    return gaps_N


def published_confidence(probs_NC: Floats) -> Floats:
    """(N,) largest probability."""
    if probs_NC.shape[1] <= 2:
        return _from_even(probs_NC)
    largest_N: Floats = probs_NC.max(axis=1)
    return largest_N


def published_entropy(probs_NC: Floats) -> Floats:
    """(N,) sum of p log2 p."""
    if probs_NC.shape[1] <= 2:
        return _from_even(probs_NC)
    logs_NC = np.log2(np.maximum(probs_NC, probs_NC.dtype.type(1e-10)))
    scores_N: Floats = (logs_NC * probs_NC).sum(axis=1)
    return scores_N


def _from_even(probs_NC: Floats) -> Floats:
    away_N: Floats = np.abs(probs_NC[:, 0] - 0.5)
    return away_N


class PublishedWorker:
    """Scores every row for sale of one shard."""

    def __init__(self, rows: ShardRows, score: Callable[[Floats], Floats]) -> None:
        self._rows = rows
        self._score = score

    def scores(self) -> Floats:
        """One score per row for sale, by ascending id."""
        return np.concatenate(over_tiles(self._rows, self._scores_of))

    def _scores_of(self, tile: int) -> Floats:
        scores_T = np.concatenate([self._score(block) for block in self._rows.probs_in_blocks(tile)])
        return scores_T[self._rows.candidates(tile)]


def buy_as_published(request: SelectionRequest, score: Callable[[Floats], Floats]) -> Ids:
    """The lowest scores of all rows for sale, gathered and sorted at once as the published code does."""
    scores_N = np.concatenate(request.spread(PublishedWorker, score).each("scores"))
    return request.candidate_ids()[np.argsort(scores_N)[: request.labels_to_buy]]


def memory_as_published(shape: PoolShape) -> int:
    """Bytes: the scores twice, the ids for sale twice, and the order of all."""
    return 40 * shape.num_rows
