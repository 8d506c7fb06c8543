"""Rows in the order of one class's margin, and where labels disagree along it."""

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.types import Floats, Ids, Labels

PENDING = -1
"""The label of a row that was chosen and is not answered yet."""


def class_margin(probs_NC: Floats, class_index: int) -> Floats:
    """(N,) p_k - max_j p_j + 1e-8 max_j p_j: 0 for rows predicted as k, which the last term orders by confidence.

    With two classes, the probability of class 0.
    """
    wide_NC: Floats = np.asarray(probs_NC, np.float64)
    margins_N: Floats
    if probs_NC.shape[1] == 2:
        margins_N = wide_NC[:, 0]
    else:
        largest_N = wide_NC.max(axis=1)
        margins_N = wide_NC[:, class_index] - largest_N + 1e-8 * largest_N
    return margins_N


class ClassOrder:
    """The rows of the pool by descending margin, and which of them are labelled, as positions in that order.

    A *cut* lies between two neighbouring labelled rows of which exactly one belongs to the class. Rows whose answer is
    pending take no side: they split the run that they lie in, and either half may hold the cut.
    """

    def __init__(self, class_index: int, margins_N: Floats, ids_N: Ids, num_rows: int) -> None:
        self.class_index = class_index
        # Ties by ascending id: the ids given are ascending, and the sort is stable.
        self._order = ids_N[np.argsort(-margins_N, kind="stable")].astype(np.int32)
        self._position_of = np.full(num_rows, -1, np.int32)
        self._position_of[self._order] = np.arange(len(self._order), dtype=np.int32)
        self._labelled = np.empty(0, np.int64)
        self._sides = np.empty(0, np.int64)
        self._known = 0
        self._settled = 0

    def bring_up_to_date(self, ids: Ids, labels: Labels) -> None:
        """Take in everything bought so far, in buying order: only what is new since the last call costs time."""
        sides = np.where(labels == PENDING, PENDING, labels == self.class_index).astype(np.int64)
        new = self._position_of[ids[self._known :]].astype(np.int64)
        order = np.argsort(new)
        places = np.searchsorted(self._labelled, new[order])
        self._labelled = np.insert(self._labelled, places, new[order])
        self._sides = np.insert(self._sides, places, sides[self._known :][order])
        # Rows taken in while their answer was pending may have it now.
        late = self._position_of[ids[self._settled : self._known]]
        self._sides[np.searchsorted(self._labelled, late)] = sides[self._settled : self._known]
        self._known = len(ids)
        pending = np.flatnonzero(labels == PENDING)
        self._settled = int(pending[0]) if pending.size else len(ids)

    @property
    def num_taken(self) -> int:
        """Rows that are labelled or chosen."""
        return len(self._labelled)

    @property
    def num_free(self) -> int:
        """Rows that are neither."""
        return len(self._order) - len(self._labelled)

    def is_free(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where the row at the position is neither labelled nor chosen."""
        return ~np.isin(positions, self._labelled)

    def free_position(self, rank: int) -> int:
        """The free position with ``rank`` free ones before it."""
        free_before = self._labelled - np.arange(len(self._labelled))
        return rank + int(np.searchsorted(free_before, rank, side="right"))

    def id_at(self, position: int) -> int:
        """Which row stands there."""
        return int(self._order[position])

    def shortest_cut(self) -> int | None:
        """Id in the middle of the shortest run of unlabelled rows that holds a cut (first on ties), if there is one."""
        gaps = np.diff(self._labelled)
        candidates = np.flatnonzero(self._cuts() & (gaps > 1))
        if not candidates.size:
            return None
        left = candidates[gaps[candidates].argmin()]
        first, last = self._labelled[left] + 1, self._labelled[left + 1] - 1
        return int(self._order[(first + last) // 2])

    def beside_cut(self, *, descending_only: bool = False) -> int | None:
        """Id of the unlabelled row nearest to a cut without unlabelled rows in it, if there is one.

        A row to the right is taken only if strictly nearer; among equals on the left the largest position.
        ``descending_only`` looks only at cuts from a row outside the class to one inside.
        """
        cuts = np.flatnonzero(self._cuts() & (np.diff(self._labelled) == 1))
        if descending_only:
            cuts = cuts[(self._sides[cuts] == 0) & (self._sides[cuts + 1] == 1)]
        if not cuts.size:
            return None
        block = np.concatenate([[0], np.cumsum(np.diff(self._labelled) > 1)])
        starts = self._labelled[np.searchsorted(block, block[cuts], "left")] - 1
        ends = self._labelled[np.searchsorted(block, block[cuts], "right") - 1] + 1
        far = len(self._order) + 1
        left = np.where(starts >= 0, self._labelled[cuts] - starts, far)
        right = np.where(ends < len(self._order), ends - self._labelled[cuts + 1], far)
        if min(left.min(), right.min()) == far:
            return None
        if right.min() < left.min():
            return int(self._order[ends[right.argmin()]])
        return int(self._order[starts[left == left.min()].max()])

    def _cuts(self) -> NDArray[np.bool_]:
        """(L - 1,) true where the nearest answered rows on both sides of a neighbouring pair disagree."""
        answered = self._sides != PENDING
        places = np.arange(len(self._sides))
        before = np.maximum.accumulate(np.where(answered, places, -1))[:-1]
        after = np.minimum.accumulate(np.where(answered, places, len(places))[::-1])[::-1][1:]
        cut: NDArray[np.bool_] = (before >= 0) & (after < len(places))
        cut[cut] = self._sides[before[cut]] != self._sides[after[cut]]
        return cut
