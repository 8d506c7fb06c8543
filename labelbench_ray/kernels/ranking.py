"""The k best of many scores, ties to the lowest id, without sorting them all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from labelbench_ray.types import Floats, Ids


class Ranked(NamedTuple):
    """Ids with their scores, smallest score first, equal scores by ascending id."""

    scores_K: Floats
    ids_K: Ids


def k_smallest(scores_N: Floats, ids_N: Ids, k: int) -> Ranked:
    """The k smallest scores (all, if there are fewer), ties to the lowest id. O(N + k log k)."""
    if k < len(scores_N):
        bar = np.partition(scores_N, k - 1)[k - 1]
        below = np.flatnonzero(scores_N < bar)
        level = np.flatnonzero(scores_N == bar)
        missing = k - len(below)
        if missing < len(level):
            level = level[np.argpartition(ids_N[level], missing - 1)[:missing]]
        keep = np.concatenate([below, level])
        scores_N, ids_N = scores_N[keep], ids_N[keep]
    order = np.lexsort((ids_N, scores_N))
    return Ranked(scores_N[order], ids_N[order])


def merge_smallest(parts: Sequence[Ranked], k: int) -> Ranked:
    """The k smallest of several rankings."""
    return k_smallest(
        np.concatenate([part.scores_K for part in parts]), np.concatenate([part.ids_K for part in parts]), k
    )
