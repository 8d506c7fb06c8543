"""Where labels disagree along an order: what GALAXY bisects, kept up to date as answers come in."""

import heapq
from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.class_order import Positions

NONE_PENDING = np.empty(0, np.int64)
FAR = np.iinfo(np.int64).max
FEW = 32  # rows that are quicker taken in one by one than sifted all at once


class Cuts:
    """Labelled positions of one order, and its cuts.

    A *cut* is a pair of neighbouring labelled rows of which exactly one belongs to the class. Between two cuts all
    labelled rows are of one side, and the sides alternate from cut to cut. So a row that lies in no cut and is of its
    surroundings' side changes nothing, which most rows do, and only the others are taken in one by one.

    Pending rows (chosen, their answer not known) take no side: they split the cut they lie in, and either half may
    hold it.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self.num_answered = 0
        self._first_side = False
        # Left and right position of each cut in turn, ascending. A row between two cuts stands here twice.
        self._walls: list[int] = []
        # (length, left, right) of cuts with rows in them, and of some that are no cuts any more.
        self._open: list[tuple[int, int, int]] = []
        self._labelled = SortedPositions()

    def add(self, positions: Positions, sides: NDArray[np.bool_]) -> None:
        """Take in answered rows, true where they belong to the class."""
        if not self.num_answered and len(positions):
            self._begin(positions, sides)
        elif len(positions) > FEW:
            matters = self._matters(positions, sides)
            self._labelled.add(positions[~matters])
            self._take_in(positions[matters], sides[matters])
        else:
            self._take_in(positions, sides)
        self.num_answered += len(positions)

    def shortest(self, pending: Positions = NONE_PENDING) -> int | None:
        """The middle of the shortest run of unlabelled rows that holds a cut (first on ties), if there is one."""
        if len(pending):
            lefts, rights = self._split_by(pending)
            lengths = np.where(rights - lefts > 1, rights - lefts, FAR)
            first = lengths.argmin() if len(lengths) else 0
            return int(lefts[first] + rights[first]) // 2 if len(lengths) and lengths[first] < FAR else None
        while self._open:
            _, left, right = self._open[0]
            if self._is_cut(left, right):
                return (left + right) // 2
            heapq.heappop(self._open)
        return None

    def beside(self, pending: Positions = NONE_PENDING, *, descending_only: bool = False) -> int | None:
        """The unlabelled position nearest to a cut without unlabelled rows in it, if there is one.

        One to the right is taken only if strictly nearer; among equals on the left the largest position.
        ``descending_only`` looks only at cuts from a row outside the class to one inside.
        """
        lefts, rights = self._split_by(pending)
        closed = rights - lefts == 1
        if descending_only:
            closed &= ~self._side_around(np.array(self._walls).searchsorted(lefts, side="right"))
        lefts = lefts[closed]
        if not len(lefts):
            return None
        before, after = self._free_around(lefts, pending)
        left = np.where(before >= 0, lefts - before, FAR)
        right = np.where(after < self._num_rows, after - lefts - 1, FAR)
        nearest_left, nearest_right = left.min(), right.min()
        if nearest_left == nearest_right == FAR:
            return None
        if nearest_right < nearest_left:
            return int(after[right.argmin()])
        return int(before[left == nearest_left].max())

    def _begin(self, positions: Positions, sides: NDArray[np.bool_]) -> None:
        """The cuts of the first rows, all at once."""
        packed = ((positions << 1) | sides).astype(np.int32)  # sorts faster than what it packs
        packed.sort()
        positions, sides = packed >> 1, (packed & 1).astype(bool)
        ends = np.flatnonzero(sides[1:] != sides[:-1])
        self._labelled.add(positions)
        self._first_side = bool(sides[0])
        self._walls = np.stack([positions[ends], positions[ends + 1]], axis=1).ravel().tolist()
        self._collect_open()

    def _matters(self, positions: Positions, sides: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows lie in a cut, or among labelled rows of the other side."""
        place = np.array(self._walls, np.int64).searchsorted(positions)
        matters: NDArray[np.bool_] = (place & 1).astype(bool) | (sides != self._side_around(place))
        return matters

    def _take_in(self, positions: Positions, sides: NDArray[np.bool_]) -> None:
        """Take in rows one by one, each given the cuts as they are by then."""
        walls = self._walls
        for position, side in zip(positions.tolist(), sides.tolist(), strict=True):
            place = bisect_left(walls, position)
            around = self._first_side ^ bool(place & 2)
            if place & 1:  # within a cut: what lies between the row and the other side is the cut now
                walls[place - 1 if side == around else place] = position
                self._opened(walls[place - 1], walls[place])
            elif side != around:
                self._cut_around(place, position)
            self._labelled.add_one(position)
        if len(self._open) > 4 * len(walls) + FEW:
            self._collect_open()

    def _cut_around(self, place: int, position: int) -> None:
        """A row among rows of the other side: a cut on each side of it where there is a labelled row."""
        before, after = self._labelled.neighbours(position)
        if before is None:
            self._first_side = not self._first_side
        cuts = []
        if before is not None:
            cuts += [before, position]
            self._opened(before, position)
        if after is not None:
            cuts += [position, after]
            self._opened(position, after)
        self._walls[place:place] = cuts

    def _opened(self, left: int, right: int) -> None:
        if right - left > 1:
            heapq.heappush(self._open, (right - left, left, right))

    def _collect_open(self) -> None:
        cuts = zip(self._walls[::2], self._walls[1::2], strict=True)
        self._open = [(right - left, left, right) for left, right in cuts if right - left > 1]
        heapq.heapify(self._open)

    def _is_cut(self, left: int, right: int) -> bool:
        place = bisect_right(self._walls, left)  # odd if it is a left wall still: no labelled row lies within a cut
        return bool(place & 1) and self._walls[place] == right

    def _side_around(self, place: Positions) -> NDArray[np.bool_]:
        """The side of the labelled rows before places among the walls: sides alternate from cut to cut."""
        return (place & 2).astype(bool) ^ self._first_side

    def _split_by(self, pending: Positions) -> tuple[Positions, Positions]:
        """Left and right positions of the cuts, cut once more at every pending row in them."""
        walls = np.array(self._walls, np.int64)
        if not len(pending):
            return walls[::2], walls[1::2]
        inside = pending[(walls.searchsorted(pending) & 1).astype(bool)]
        lefts = np.sort(np.concatenate([walls[::2], inside]))
        rights = walls[walls.searchsorted(lefts, side="right")]
        rights[:-1] = np.minimum(rights[:-1], lefts[1:])
        return lefts, rights

    def _free_around(self, positions: Positions, pending: Positions) -> tuple[Positions, Positions]:
        """The nearest positions before and after taken ones that are free, -1 and the number of rows at the ends."""
        taken = self._labelled.all()
        if len(pending):
            taken = np.sort(np.concatenate([taken, pending]))
        free_before = taken - np.arange(len(taken), dtype=np.int32)  # equal along an unbroken block
        block = free_before[taken.searchsorted(positions)]
        firsts = taken[free_before.searchsorted(block)]
        lasts = taken[free_before.searchsorted(block, side="right") - 1]
        return firsts.astype(np.int64) - 1, lasts.astype(np.int64) + 1


class SortedPositions:
    """A growing set of positions. What is new is sorted when it is asked about, and merged when there is much of it.

    4 bytes each, for there are as many such sets as classes.
    """

    def __init__(self) -> None:
        self._old: NDArray[np.int32] = np.empty(0, np.int32)
        self._new: NDArray[np.int32] = np.empty(0, np.int32)
        self._unsorted: list[NDArray[np.int32]] = []
        self._singles: list[int] = []

    def add(self, positions: Positions) -> None:
        """Add positions that are not in it."""
        self._unsorted.append(positions.astype(np.int32))

    def add_one(self, position: int) -> None:
        """Add a position that is not in it."""
        self._singles.append(position)

    def neighbours(self, position: int) -> tuple[int | None, int | None]:
        """The last one before a position and the first one after it."""
        self._sort_new()
        if len(self._new) > len(self._old) // 8:
            self.all()
        before, after = [], []
        for part in (self._old, self._new):
            place = int(part.searchsorted(np.int32(position)))
            if place > 0:
                before.append(int(part[place - 1]))
            if place < len(part):
                after.append(int(part[place]))
        return max(before, default=None), min(after, default=None)

    def all(self) -> NDArray[np.int32]:
        """All of them, ascending."""
        self._sort_new()
        if len(self._new):
            self._old = np.concatenate([self._old, self._new])
            self._old.sort(kind="stable")  # merges the two
            self._new = self._new[:0]
        return self._old

    def _sort_new(self) -> None:
        if self._singles:
            self._unsorted.append(np.array(self._singles, np.int32))
            self._singles.clear()
        if self._unsorted:
            self._new = np.concatenate([self._new, *self._unsorted])
            self._new.sort()
            self._unsorted.clear()
