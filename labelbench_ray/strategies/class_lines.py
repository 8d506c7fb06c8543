"""Rows along one class's margin, and what is known of their labels while a batch is being bought."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.threshold import Signs, best_threshold, leap, version_space
from labelbench_ray.strategies.base import SelectionRequest
from labelbench_ray.types import Floats, Ids, Labels

FOR_SALE = -1
"""In place of a label: it can be bought."""
EXCLUDED = -2
"""In place of a label: it never will be."""

SAMPLE_EVERY = 64
"""One row in so many tells roughly where along a line to look."""
LEAST_SAMPLED = 1 << 14
"""Fewer rows are sorted sooner than sampled."""


class Purchases:
    """Every label that is known, in the order of buying."""

    def __init__(self, request: SelectionRequest, parallel_labels: int) -> None:
        assert request.ask is not None, "declares needs.labels_in_batch"
        self._ask, self.parallel_labels = request.ask, parallel_labels
        self._ids = np.concatenate([request.ids_L, np.empty(request.labels_to_buy, np.int64)])
        self._num_before = self._num_known = len(request.ids_L)
        self.labels_N: Labels = np.full(request.num_rows, FOR_SALE, np.int64)
        self.labels_N[request.excluded_ids] = EXCLUDED
        self.labels_N[request.ids_L] = request.labels_L

    @property
    def known_ids(self) -> Ids:
        """Ids whose label is known, those bought before the batch first."""
        return self._ids[: self._num_known]

    @property
    def bought_ids(self) -> Ids:
        """Ids bought in this batch."""
        return self._ids[self._num_before : self._num_known]

    @property
    def num_left(self) -> int:
        """Labels left of the budget."""
        return len(self._ids) - self._num_known

    def buy(self, ids: Ids) -> Labels:
        """Ask for labels, in as many trips as the annotators need who answer ``parallel_labels`` at once."""
        for start in range(0, len(ids), self.parallel_labels):
            asked = ids[start : start + self.parallel_labels]
            self.labels_N[asked] = self._ask(asked)
            self._ids[self._num_known : self._num_known + len(asked)] = asked
            self._num_known += len(asked)
        return self.labels_N[ids]


@dataclass(frozen=True, eq=False)
class ClassLine:
    """The rows of the pool by descending margin of a class, ties by ascending id. Only parts of it are ever sorted."""

    class_index: int
    margins_N: Floats
    purchases: Purchases

    def signs_of(self, ids: Ids) -> Signs:
        """+1 where a row is labelled as the class, -1 where as another one, 0 where it is not labelled."""
        labels = self.purchases.labels_N[ids]
        return np.where(labels < 0, np.int8(0), np.where(labels == self.class_index, np.int8(1), np.int8(-1)))

    def along(self, ids: Ids) -> Ids:
        """These rows in the order of the line."""
        descending = -self.margins_N[ids]
        order = np.argsort(descending)  # faster than a stable sort, and as good where no two are equal
        ranked = descending[order]
        if (ranked[1:] == ranked[:-1]).any():
            order = np.lexsort((ids, descending))
        return ids[order]

    def up_to(self, last: int, ids: Ids) -> NDArray[np.bool_]:
        """True for those of some rows that are ``last`` or stand before it."""
        margins = self.margins_N[ids]
        up_to: NDArray[np.bool_] = (margins > self.margins_N[last]) | (
            (margins == self.margins_N[last]) & (ids <= last)
        )
        return up_to

    def labelled_ids(self) -> Ids:
        """(L,) labelled rows along the line."""
        return self.along(self.purchases.known_ids)

    def uncertain_ids(self) -> Ids:
        """The rows, labelled or not, from one end of the version space to the other, by id."""
        ids_L = self.labelled_ids()
        left, right = version_space(self.signs_of(ids_L))
        inside_N = self.purchases.labels_N != EXCLUDED
        if left >= 0:
            inside_N &= self.margins_N <= self.margins_N[ids_L[left]]
        if right < len(ids_L):
            inside_N &= self.margins_N >= self.margins_N[ids_L[right]]
        ids = np.flatnonzero(inside_N)
        if left >= 0:
            ids = ids[~self.up_to(ids_L[left], ids) | (ids == ids_L[left])]
        return ids[self.up_to(ids_L[right], ids)] if right < len(ids_L) else ids

    def unlabelled(self, ids: Ids) -> Ids:
        """Those of some rows that are not labelled."""
        unlabelled: Ids = ids[self.purchases.labels_N[ids] == FOR_SALE]
        return unlabelled

    def leap_by_sample(self, ids: Ids, num_keep: int) -> Ids:
        """``leap`` part of the way, with rows between the ends of a version space that are in no order yet.

        How far each end goes for an accuracy depends on labelled rows alone, and only the accuracy that may be reached
        on how many others there are. So a sample of these proposes, and what it proposes is taken if it keeps enough.
        """
        if len(ids) < LEAST_SAMPLED:
            return ids
        labelled = self.purchases.labels_N[ids] != FOR_SALE
        sampled = labelled.copy()
        sampled[::SAMPLE_EVERY] = True
        sampled[len(ids) - 1 - self.margins_N[ids[::-1]].argmin()] = True  # the tail may be an end
        ids_S = self.along(ids[sampled])
        keep = num_keep * (len(ids_S) - labelled.sum()) / (len(ids) - labelled.sum())
        first, last = leap(self.signs_of(ids_S), math.ceil(keep + 4 * math.sqrt(keep)) + 4)
        inside = ~self.up_to(ids_S[first - 1], ids) if first else np.ones(len(ids), bool)
        if last < len(ids_S) - 1:
            inside &= self.up_to(ids_S[last], ids)
        return ids[inside] if (inside & ~labelled).sum() > num_keep else ids

    def nearest_to_threshold(self, num_ids: int) -> Ids:
        """Unlabelled rows nearest to the most accurate threshold, those before it first where two are as near.

        Labelled rows are steps on the way, too, and where the line ends on one side the other one goes on.
        """
        ids_L = self.labelled_ids()
        num_before = best_threshold(self.signs_of(ids_L))
        head = ids_L[num_before - 1 : num_before] if num_before else ids_L[:0]  # the row before the threshold, if any
        for low, high in (self._reach(head, num_ids), (-np.inf, np.inf)):
            ids = self._between(low, high)
            start = int(np.flatnonzero(ids == head)[0]) + 1 if head.size else 0
            places = np.flatnonzero(self.purchases.labels_N[ids] == FOR_SALE)
            num_left = int(np.searchsorted(places, start))
            if (num_left >= num_ids or high == np.inf) and (len(places) - num_left >= num_ids or low == -np.inf):
                break
        turns = np.where(places < start, 2 * (start - 1 - places), 2 * (places - start) + 1)
        return ids[places[np.argsort(turns)[:num_ids]]]

    def _reach(self, head: Ids, num_ids: int) -> tuple[float, float]:
        """Margins between which ``num_ids`` unlabelled rows should lie on either side, going by a sample of rows."""
        pivot = self.margins_N[head].min(initial=np.inf)
        sample = self.margins_N[::SAMPLE_EVERY][self.purchases.labels_N[::SAMPLE_EVERY] == FOR_SALE]
        kth = 8 + 2 * num_ids // SAMPLE_EVERY  # twice as many as needed and some more: rarely in vain
        above, below = sample[sample >= pivot], sample[sample < pivot]
        high = np.partition(above, kth)[kth] if kth < len(above) else np.inf
        low = -np.partition(-below, kth)[kth] if kth < len(below) else -np.inf
        return float(low), float(high)

    def _between(self, low: float, high: float) -> Ids:
        """The part of the line with these margins."""
        ids = np.flatnonzero((self.margins_N >= low) & (self.margins_N <= high))
        return self.along(ids[self.purchases.labels_N[ids] != EXCLUDED])
