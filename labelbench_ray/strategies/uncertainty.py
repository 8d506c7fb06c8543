"""Buy where the model is least sure: three scores of a row of probabilities, one pass over the pool.

Rows are scored block by block where the probabilities are, and each shard keeps only its best, so no more than a few
scores per label to buy are ever held. Scores are float64 numbers of the probabilities as stored, in float32 or float64:
largest probabilities and gaps between them are exact, entropies are what float64 arithmetic gives. Ties go to the
lowest id. No randomness is used.

The arithmetic stays on the processor wherever the pool is multiplied: a probability is used once, and to send it to a
device costs more than to score it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.kernels.ranking import KSmallest, Ranked, merge_smallest
from labelbench_ray.kernels.tiles import Scratch
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import Compatibility, Needs, PoolShape, SelectionRequest
from labelbench_ray.strategies.published_uncertainty import (
    buy_as_published,
    memory_as_published,
    published_confidence,
    published_entropy,
    published_margin,
)
from labelbench_ray.types import Floats, Ids

Mask = NDArray[np.bool_]

Score = Callable[[Floats], Floats]
"""(N, C) probabilities to (N,) float64 scores; the lowest is bought first."""

FEW_CLASSES = 24
"""Up to here a running maximum over columns beats a maximum along each row."""

LEAST = 2.0**-126
"""Smallest normal float32 number: 0 log 0 = 0 without an exception for 0."""

UNIT = 2.0**-24
"""Largest relative error of rounding to float32."""


def largest_probability(probs_NC: Floats) -> Floats:
    """(N,) probability of the predicted class."""
    return _wide(_largest(probs_NC))


def _largest(probs_NC: Floats) -> Floats:
    if probs_NC.shape[1] <= FEW_CLASSES:
        columns_CN = np.ascontiguousarray(probs_NC.T)
        return np.asarray(columns_CN.max(axis=0))
    # DLPack hands over read-only memory without a copy. Numpy's maximum takes three times as long at 100 classes.
    return np.asarray(from_dlpack(probs_NC).amax(1).numpy())


def top_two_gap(probs_NC: Floats) -> Floats:
    """(N,) difference between the two largest probabilities of each row, in [0, 1]; the only one where C = 1."""
    num_classes = probs_NC.shape[1]
    if num_classes == 1:
        return _wide(probs_NC[:, 0])
    if num_classes > FEW_CLASSES:
        return _gap_overwriting(probs_NC.copy())
    first_N, second_N = _running_top_two(probs_NC)
    return _wide(first_N) - _wide(second_N)


def _running_top_two(probs_NC: Floats) -> tuple[Floats, Floats]:
    columns_CN = np.ascontiguousarray(probs_NC.T)
    first_N = np.maximum(columns_CN[0], columns_CN[1])
    second_N = np.minimum(columns_CN[0], columns_CN[1])
    for column_N in columns_CN[2:]:
        np.maximum(second_N, np.minimum(first_N, column_N), out=second_N)
        np.maximum(first_N, column_N, out=first_N)
    return first_N, second_N


def _gap_overwriting(probs_NC: Floats) -> Floats:
    """The same of rows that it may spoil: the largest of each, less what is largest without it.

    A sort or partition costs several times more.
    """
    flat = probs_NC.reshape(-1)
    places_N = np.arange(0, flat.size, probs_NC.shape[1]) + probs_NC.argmax(axis=1)
    first_N = flat[places_N]
    flat[places_N] = -np.inf
    return _wide(first_N) - _wide(_largest(probs_NC))


def below_top_two_gap(probs_NC: Floats) -> Floats:
    """(N,) numbers that the gaps are not below: a second alone is not longer than all but the first together.

    So second^2 <= sum of p^2 - first^2, and both are cheap: nine rows in ten need no search for a second. In float32
    the sum is off by (C + 1) 2^-24 of itself at most; twice that is given to the second.
    """
    error = 2 * (probs_NC.shape[1] + 1) * UNIT
    first_N = _wide(_largest(probs_NC))
    with np.errstate(invalid="ignore", over="ignore"):
        squares_N = _wide(np.vecdot(probs_NC, probs_NC))
        others_N = np.maximum(squares_N * (1 + error) - first_N**2, 0) + LEAST
        below_N: Floats = first_N - np.sqrt(others_N)
    return below_N


def negative_entropy(probs_NC: Floats) -> Floats:
    """(N,) sum of p log p in nats, with 0 log 0 = 0."""
    wide_NC = _wide(probs_NC)
    logs_NC = from_dlpack(wide_NC).clamp_min(LEAST).numpy()
    np.log(logs_NC, out=logs_NC)
    # Numpy's sum along rows takes a row's terms in the same order whatever rows are with it; its einsum does not.
    scores_N: Floats = np.multiply(wide_NC, logs_NC, out=logs_NC).sum(axis=1)
    return scores_N


def below_negative_entropy(probs_NC: Floats) -> Floats:
    """(N,) numbers that the scores are not below, from logarithms in the probabilities' own dtype.

    In float32, with u = 2^-24: a logarithm is off by at most 4 units in the last place (8 u), its argument and the
    product by u each, a sum of C terms by (C - 1) u, all relative to the terms' absolute sum, which is the score itself
    as long as no probability is above one, and within one of it if one is by a rounding error. Twice that is taken off.
    """
    error = 2 * (probs_NC.shape[1] + 16) * UNIT
    with np.errstate(invalid="ignore", over="ignore"):
        logs_NC = probs_NC + np.float32(LEAST)
        scores_N = _wide(np.vecdot(probs_NC, np.log(logs_NC, out=logs_NC)))
        below_N: Floats = scores_N - error * (1 + np.abs(scores_N))
    return below_N


def largest_probability_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of max(p, 1 - p)."""
    wide_NC = _wide(probs_NC)
    return _wide(np.maximum(wide_NC, 1 - wide_NC).mean(axis=1))


def gap_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of |p - (1 - p)|."""
    return _wide(np.abs(2 * _wide(probs_NC) - 1).mean(axis=1))


def negative_entropy_per_label(probs_NC: Floats) -> Floats:
    """(N,) mean over labels of p log p + (1 - p) log(1 - p)."""
    wide_NC = _wide(probs_NC)
    return _wide((negative_entropy(wide_NC) + negative_entropy(1 - wide_NC)) / wide_NC.shape[1])


def _wide(numbers: Floats) -> Floats:
    wide: Floats = np.asarray(numbers, np.float64)
    return wide


class Certainty(NamedTuple):
    """How sure the model is of a row."""

    score: Score
    """May spoil the rows it is given if there is a ``below``: they are a copy."""
    below: Score | None = None
    """Cheaper numbers that the scores are not below: a row of which they say enough is not scored.

    NaN or infinite wherever a probability is.
    """


class UncertaintyWorker:
    """Scores the rows of one shard."""

    def __init__(self, rows: ShardRows, certainty: Certainty) -> None:
        self._rows = rows
        self._score, self._below = certainty
        self._scratch = Scratch()

    def least_certain(self, k: int) -> Ranked:
        """The k rows of lowest score of this shard, or all that are for sale."""
        least = KSmallest(k)
        over_tiles(self._rows, lambda tile: self._offer(tile, least))
        return least.ranked()

    def _offer(self, tile: int, least: KSmallest) -> None:
        """Offer the rows of a tile that are for sale and may come under the bar."""
        first, for_sale_T = 0, self._rows.candidates(tile)
        for probs_NC in self._rows.probs_in_blocks(tile, checked=self._below is None):
            last = first + len(probs_NC)
            places, scores = self._promising(tile, probs_NC, for_sale_T[first:last], least.bar)
            least.offer(scores, places + (self._rows.first_id(tile) + first))
            first = last

    def _promising(self, tile: int, probs_NC: Floats, for_sale_N: Mask, bar: np.float64) -> tuple[Ids, Floats]:
        if self._below is None:
            scores_N = self._score(probs_NC)
            places = np.flatnonzero(for_sale_N & (scores_N <= bar))
            return places, scores_N[places]
        below_N = self._below(probs_NC)
        if not math.isfinite(below_N.sum()):
            self._rows.probs(tile)
        places = np.flatnonzero(for_sale_N & ~(below_N > bar))
        return places, self._score(self._scratch.copied(probs_NC, places))


def _buy_least_certain(request: SelectionRequest, certainty: Certainty) -> Ids:
    workers = request.spread(UncertaintyWorker, certainty)
    return merge_smallest(workers.each("least_certain", request.labels_to_buy), request.labels_to_buy).ids_K


def _least_memory(shape: PoolShape, compatibility: Compatibility) -> int:
    tile = 24 * shape.tile_rows * shape.num_classes  # in float64, with its logarithms
    if compatibility == "labelbench":
        return tile + memory_as_published(shape)
    return tile + 64 * (shape.labels_to_buy + shape.tile_rows)


@dataclass(frozen=True, kw_only=True)
class LeastConfidence:
    """Buy the rows whose predicted class is least probable (Lewis & Gale, 1994).

    ``compatibility="labelbench"`` ranks as the published code does, which leaves the order of ties to numpy's sort.
    """

    name: ClassVar[str] = "confidence"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    compatibility: Compatibility = "none"

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by ascending largest probability."""
        if self.compatibility == "labelbench":
            return buy_as_published(request, published_confidence)
        score = largest_probability_per_label if request.task == "multi_label" else largest_probability
        return _buy_least_certain(request, Certainty(score))

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape, self.compatibility)


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Buy the rows whose predictive distribution has the highest entropy (Settles, 2009).

    ``compatibility="labelbench"`` ranks as the published code does: probabilities are raised to 1e-10 inside the
    logarithm, and numpy's sort decides ties.
    """

    name: ClassVar[str] = "entropy"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    compatibility: Compatibility = "none"

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by descending entropy."""
        if self.compatibility == "labelbench":
            return buy_as_published(request, published_entropy)
        if request.task == "multi_label":
            return _buy_least_certain(request, Certainty(negative_entropy_per_label))
        return _buy_least_certain(request, Certainty(negative_entropy, below_negative_entropy))

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape, self.compatibility)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Buy the rows whose two most likely classes are closest (Scheffer et al., 2001).

    ``compatibility="labelbench"`` ranks as the published code does, which leaves the order of ties to numpy's sort.
    """

    name: ClassVar[str] = "margin"
    needs: ClassVar[Needs] = Needs(probabilities=True)

    compatibility: Compatibility = "none"

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids by ascending gap between the two largest probabilities."""
        if self.compatibility == "labelbench":
            return buy_as_published(request, published_margin)
        if request.task == "multi_label":
            return _buy_least_certain(request, Certainty(gap_per_label))
        few = request.num_classes <= FEW_CLASSES
        return _buy_least_certain(
            request, Certainty(top_two_gap) if few else Certainty(_gap_overwriting, below_top_two_gap)
        )

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: a tile and the best rows of all."""
        return _least_memory(shape, self.compatibility)
