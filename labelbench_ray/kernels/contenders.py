"""Rows that may be bought next, with bounds on their distance to the nearest centre that are tightened only as needed.

The farthest row is wanted, so a row matters while an upper bound on its distance is among the largest. Each row knows
how many of the centres it has ``seen``; its bound holds over those, hence over all. Bringing the rows of largest bounds
up to date, centre by centre, and leaving a row alone as soon as its bound falls below the bar (the bound of the last
row that is wanted) multiplies no row that does not have to be: the bar only falls.

Products are rough (``distance_bounds``). For each row and block of centres the least lower bound is kept, so that
``settle`` knows which few blocks can hold the nearest centre, and evaluates the distance that counts in those alone.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.distance_bounds import (
    ROWS_AT_ONCE,
    RoughRows,
    just_above,
    lowest,
    not_above,
    smallest,
    squared_distance,
)
from labelbench_ray.types import Floats, Ids

Places = NDArray[np.int64]

BLOCK = 512
"""Centres multiplied at once. More run no faster, and a row stops between blocks."""

NEIGHBOURS = 8
"""A centre is popular that is one of so many nearest of many rows."""


class Centres:
    """Centres, as they are and rounded for rough products. In no particular order: a row is nearest to the same one."""

    def __init__(self, most: int, origin_D: Floats, device: str) -> None:
        self.origin_D = origin_D
        self.device = device
        self.num = 0
        self.num_blocks = -(-most // BLOCK)
        self._vectors_BD = np.empty((most, len(origin_D)), np.float32)
        self._vector_at = np.arange(most)
        """Which vector is at each place: ``sort`` moves what is rounded alone, which is less."""
        self.rough = RoughRows.room_for(most, len(origin_D), device)
        self.doubt_B = np.empty(most)
        """What each adds to the width of a distance's bounds."""

    @property
    def width(self) -> int:
        """D."""
        return len(self.origin_D)

    def add(self, vectors_BD: Floats, central: int = 0) -> None:
        """Add float32 vectors, those first (so many) that are nearest to the origin."""
        first, end = self.num, self.num + len(vectors_BD)
        own_BD = self._vectors_BD[first:end]
        own_BD[:] = vectors_BD
        if 0 < central < len(own_BD):
            _swap_to_front(own_BD, _nearest_to(self.origin_D, own_BD, central))
        self.rough.put(first, own_BD, self.origin_D)
        added = self.rough.part(first, end)
        self.doubt_B[first:end] = (added.high_N - added.low_N).cpu()
        self.num = end

    def vectors(self, places: Places) -> Floats:
        """(M, D) the centres at these places."""
        vectors_MD: Floats = self._vectors_BD[self._vector_at[places]]
        return vectors_MD

    def sort(self, order: Places) -> None:
        """Put them in another order: before any row has seen one."""
        self._vector_at[: self.num] = self._vector_at[order]
        self.rough.sort(order)
        self.doubt_B[: self.num] = self.doubt_B[order]


def _nearest_to(origin_D: Floats, vectors_BD: Floats, count: int) -> Places:
    with np.errstate(over="ignore", invalid="ignore"):
        distance_B = np.vecdot(vectors_BD, vectors_BD) - 2 * vectors_BD @ origin_D
    return np.argpartition(distance_B, count - 1)[:count]


def _swap_to_front(vectors_BD: Floats, chosen: Places) -> None:
    front = np.arange(len(chosen))
    displaced, moved = np.setdiff1d(front, chosen), np.setdiff1d(chosen, front)
    vectors_BD[np.concatenate([displaced, moved])] = vectors_BD[np.concatenate([moved, displaced])]


class Contenders:
    """At most ``most`` rows, and what is known of each. A place is where a row lies in these arrays."""

    def __init__(self, most: int, centres: Centres, threads: int) -> None:
        width = centres.width
        self._centres = centres
        self._threads = threads
        self.most = most
        self.num = 0
        self.ids = np.empty(most, np.int64)
        self.vectors_MD = np.empty((most, width), np.float32)
        self._rough = RoughRows.room_for(most, width, centres.device)
        self._low = np.empty(most)
        self._doubt = np.empty(most)
        self.bounds = np.empty(most)
        """Upper bound of the distance to the nearest centre; -inf once chosen."""
        self.seen = np.empty(most, np.int64)
        """How many of the centres the bound takes into account, at least."""
        self._settled = np.empty(most)
        """The distance that counts to the nearest of the centres that were settled; infinite before."""
        self._least = np.empty((centres.num_blocks, most), np.float32)
        """Least lower bound within each block of centres that was seen and not settled; infinite elsewhere."""

    @staticmethod
    def bytes_per_row(width: int, num_centres: int) -> int:
        """Memory of one row: float32 and at most float32 again, its numbers, and a number per block."""
        return 8 * width + 4 * -(-num_centres // BLOCK) + 80

    def add(self, ids: Ids, bounds: Floats) -> int:
        """Make room for rows that saw no centre, and say from where on to ``fill`` in their vectors."""
        place = slice(self.num, self.num + len(ids))
        self.num += len(ids)
        assert self.num <= self.most
        self.ids[place], self.bounds[place] = ids, bounds
        self.seen[place], self._settled[place], self._least[:, place] = 0, np.inf, np.inf
        return place.start

    def fill(self, first: int, vectors_MD: Floats) -> None:
        """Put float32 vectors at the places from ``first`` on."""
        end = first + len(vectors_MD)
        self.vectors_MD[first:end] = vectors_MD
        self._rough.put(first, self.vectors_MD[first:end], self._centres.origin_D)
        filled = self._rough.part(first, end)
        self._low[first:end], self._doubt[first:end] = filled.low_N.cpu(), (filled.high_N - filled.low_N).cpu()

    def keep(self, places: Places) -> None:
        """Forget all rows but these, given by ascending place."""
        self.num = len(places)
        for first in range(0, len(places), ROWS_AT_ONCE):
            source = places[first : first + ROWS_AT_ONCE]
            # Rows only move towards the front, so nothing is overwritten before it has moved.
            self.fill(first, self.vectors_MD[source])
            for whole in (self.ids, self.bounds, self.seen, self._settled, *self._least):
                whole[first : first + len(source)] = whole[source]

    def meet_popular_centres_first(self, pilots: Places) -> None:
        """Put those centres first that are near to many of these rows: few others are needed to see that a row is near.

        Before any row has seen a centre.
        """
        if self._centres.num <= BLOCK:
            return
        lowest_TB = lowest(self._rough.rows(pilots), self._centres.rough.part(0, self._centres.num)).cpu().numpy()
        nearest_T = np.partition(lowest_TB, NEIGHBOURS, axis=1)[:, NEIGHBOURS]
        votes_B = (lowest_TB < nearest_T[:, None]).sum(axis=0)
        self._centres.sort(np.argsort(-votes_B, kind="stable"))

    def largest(self, count: int) -> Places:
        """Places of the rows of largest bounds that were not chosen, ties by ascending id; all, if there are fewer."""
        bounds = self.bounds[: self.num]
        bar = np.partition(bounds, -count)[-count] if count < self.num else -np.inf
        near = np.flatnonzero((bounds >= bar) & (bounds > -np.inf))
        return near[np.lexsort((self.ids[near], -bounds[near]))[:count]]

    def lay(self, places: Places, distances: Floats) -> None:
        """Take in the distances that count of these rows to the nearest of all centres; -inf for chosen rows."""
        self.bounds[places] = self._settled[places] = distances
        self._least[:, places] = np.inf
        self.seen[places] = self._centres.num

    def behind(self, places: Places) -> Places:
        """Those that have not seen all centres."""
        behind: Places = places[self.seen[places] < self._centres.num]
        return behind

    def up_to_date(self, places: Places) -> Places:
        """Those that have."""
        up_to_date: Places = places[self.seen[places] == self._centres.num]
        return up_to_date

    def unsettled(self, places: Places) -> Places:
        """Those whose bound is not the distance that counts to the nearest of the centres seen."""
        unsettled: Places = places[self._least[:, places].min(axis=0) <= self.bounds[places]]
        return unsettled

    def bring_up_to_date(self, places: Places, bar: float) -> None:
        """Let these rows see all centres, or as many as it takes to be below the bar."""
        num = self._centres.num
        first_block = int(self.seen[places].min(initial=num)) // BLOCK
        for start in range(first_block * BLOCK, num, BLOCK):
            end = min(start + BLOCK, num)
            places = places[self.bounds[places] >= bar]
            seen_M = self.seen[places]
            for seen in np.unique(seen_M[seen_M < end]).tolist():
                self._in_parts(places[seen_M == seen], partial(self._see, centres=slice(seen, end), bar=bar))

    @np.errstate(invalid="ignore")
    def _see(self, places: Places, centres: slice, bar: float) -> None:
        """Take these centres, of one block, into account. What overflows float32 is infinite or NaN, and then open."""
        bounds_TB = lowest(self._rough.rows(places), self._centres.rough.part(centres.start, centres.stop))
        nearest_T, least_T = smallest(bounds_TB)
        least_T = least_T + self._low[places]
        least_T[np.isnan(least_T)] = -np.inf
        least_N = self._least[centres.start // BLOCK]
        least_N[places] = np.minimum(least_N[places], least_T)
        self.seen[places] = centres.stop
        closer = np.flatnonzero(least_T < self.bounds[places])
        self._lower(places[closer], centres.start + nearest_T[closer], least_T[closer], bar)

    def _lower(self, places: Places, nearest: Places, least_M: Floats, bar: float) -> None:
        """Lower the bounds of rows by the centre that is probably nearest, from a lower bound of their distance."""
        most_M = least_M + self._doubt[places] + self._centres.doubt_B[nearest]
        self.bounds[places] = bounds_M = np.fmin(self.bounds[places], most_M)  # NaN bounds nothing
        # Rows that go on are few, and a closer look takes most of the doubt from their bounds.
        going_on = np.flatnonzero(bounds_M >= bar)
        places = places[going_on]
        above = just_above(self.vectors_MD[places], self._centres.vectors(nearest[going_on]))
        self.bounds[places] = np.minimum(self.bounds[places], above)

    def settle(self, places: Places) -> None:
        """Replace bounds by the distance that counts to the nearest of the centres seen."""
        for block, least_N in enumerate(self._least):
            may_hold_it = places[least_N[places] <= self.bounds[places]]
            self._in_parts(may_hold_it, partial(self._settle_block, block=block))
        self.bounds[places] = self._settled[places]
        self._least[:, places] = np.inf

    @np.errstate(invalid="ignore")
    def _settle_block(self, places: Places, block: int) -> None:
        start, end = block * BLOCK, min((block + 1) * BLOCK, self._centres.num)
        lowest_TB = lowest(self._rough.rows(places), self._centres.rough.part(start, end)).cpu().numpy()
        # The one that is probably nearest first: it leaves few others that may be nearer.
        nearest = lowest_TB.argmin(axis=1)
        self._evaluate(places, nearest + start)
        lowest_TB[np.arange(len(places)), nearest] = np.inf
        bars_T = np.where(self._settled[places] > 0, self.bounds[places] - self._low[places], -np.inf)
        rows, columns = not_above(lowest_TB, bars_T)
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            self._evaluate(places[rows[part]], columns[part] + start)

    def _evaluate(self, places: Places, centres: Places) -> None:
        """Take in the distances that count of these pairs."""
        distances = squared_distance(self.vectors_MD[places], self._centres.vectors(centres))
        np.minimum.at(self._settled, places, distances)
        np.minimum.at(self.bounds, places, distances)

    def _in_parts(self, places: Places, work: Callable[[Places], None]) -> None:
        parts = [places[first : first + ROWS_AT_ONCE] for first in range(0, len(places), ROWS_AT_ONCE)]
        if self._threads == 1 or len(parts) <= 1:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(self._threads) as threads:
            list(threads.map(work, parts))
