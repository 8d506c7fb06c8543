"""Greedy herding: pick rows so that every row is similar to one that was picked, by lazy evaluation of exact gains.

A pick x gains sum_i w_i max(k(x_i, x) - m_i, 0), m_i the similarity of row i to the picks so far, k(x, y) =
exp(-|x - y|^2 / radius^2). Picks only raise m, so a gain that was computed once bounds all later ones: only rows whose
bounds are the largest are brought up to date, many at once, until the best of them exceeds every other bound.

Once many rows are picked, few pairs can gain: a candidate has to be more similar to a row than the row's nearest pick.
Those pairs are then listed, and every gain is kept up to date by them.

Similarities are float32 numbers of one product, summed in float64 block by block. So that their rounding decides
nothing between copies of a row, gains count to 16 bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.products import operand, product, single_threaded
from labelbench_ray.types import Floats

Places = NDArray[np.int64]

Found = tuple[NDArray[np.int32], NDArray[np.int32], Floats]
"""Rows, candidates, and how similar they are."""

SIDE = 1024
"""Rows of a block: what is made of a block of similarities stays in the processor's cache."""

FEWEST, MOST = 32, 256
"""Rows computed anew together: few at first, and more as long as they do not suffice."""

MOST_PAIRS = 1 << 23
"""Pairs that are listed."""

BYTES_PER_PAIR = 48
"""As pairs are found, and then sorted by row and by candidate."""

PICKS_AT_ONCE = 32
"""Picks after which pairs are counted anew."""

SAMPLE = 128
"""Rows that tell how many pairs there are."""

GAIN_BITS = 16

WORN = 1 / 256
"""Share of a gain summed over all rows below which it is not taken off further, but summed anew."""

NOTHING = 2.0**-22
"""A gain below this share of the rows' whole weight is rounding."""


def counted(gains: Floats) -> NDArray[np.float64]:
    """Gains as they are compared: to 16 bits."""
    mantissas, exponents = np.frexp(np.asarray(gains, np.float64))
    rounded: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(mantissas, GAIN_BITS)), exponents - GAIN_BITS)
    return rounded


@dataclass(frozen=True)
class Similarity:
    """k(x, y) = exp(-|x - y|^2 / radius^2) of float32 rows, by products. Call it inside ``single_threaded``."""

    rows_ND: torch.Tensor
    squares_N: torch.Tensor
    radius: float

    @classmethod
    def of(cls, vectors_ND: Floats, radius: float) -> "Similarity":
        """These rows."""
        rows_ND = operand(vectors_ND)
        return cls(rows_ND, (rows_ND * rows_ND).sum(1), radius)

    def between(self, rows: slice | torch.Tensor, others: slice | torch.Tensor) -> torch.Tensor:
        """(R, O) of every one of some rows and others."""
        twice_dots_RO = product(self.rows_ND[rows], self.rows_ND[others]).mul_(2)
        minus_RO = twice_dots_RO.sub_(self.squares_N[others]).sub_(self.squares_N[rows, None])
        return minus_RO.clamp_max_(0).mul_(1 / self.radius**2).exp_()

    def to_one(self, row: int) -> torch.Tensor:
        """(N,) of all rows and one."""
        minus_N = torch.mv(self.rows_ND, self.rows_ND[row]).mul_(2).sub_(self.squares_N).sub_(self.squares_N[row])
        return minus_N.clamp_max_(0).mul_(1 / self.radius**2).exp_()


def _padded(places: Places) -> Places:
    """The last place repeated until there are 32, 64, 128, ...: for every new shape a product is compiled anew."""
    return np.pad(places, (0, max(FEWEST, 1 << (len(places) - 1).bit_length()) - len(places)), mode="edge")


def herd(vectors_ND: Floats, radius: float, bought: Places, count: int, weights_N: Floats | None = None) -> Places:
    """Up to ``count`` rows in the order in which herding picks them, ``bought`` being picked before.

    Lazily, until the list of pairs is short, as it is once some hundred rows are picked.
    """
    herding = Herding(vectors_ND, radius, bought, weights_N)
    picked = np.empty(0, np.int64)
    while len(picked) < count and herding.num_pairs() > MOST_PAIRS:
        wanted = min(PICKS_AT_ONCE, count - len(picked))
        more = herding.pick(wanted)
        picked = np.concatenate([picked, more])
        if len(more) < wanted:
            return picked
    return np.concatenate([picked, herding.pick_by_pairs(count - len(picked))])


def _above(similar_RC: torch.Tensor, nearest_R: torch.Tensor, first: int, other: int) -> Found:
    """Rows, candidates and similarities where a candidate is more similar than the nearest pick."""
    rows, candidates = torch.nonzero(similar_RC > nearest_R[:, None], as_tuple=True)
    values = similar_RC[rows, candidates].numpy()
    return (rows.numpy() + first).astype(np.int32), (candidates.numpy() + other).astype(np.int32), values


class Changes:
    """Which rows came nearer to a pick, in the order of the picks: what has to be taken off gains computed before."""

    def __init__(self) -> None:
        self.num = 0
        self._rows = np.empty(0, np.int64)
        self._before = np.empty(0, np.float32)
        self._after = np.empty(0, np.float32)

    def add(self, rows: Places, before: Floats, after: Floats) -> None:
        """These rows were as similar to their nearest pick as ``before``, and are as similar as ``after``."""
        end = self.num + len(rows)
        if end > len(self._rows):
            room = 2 * end - self.num
            self._rows, self._before, self._after = (
                np.concatenate([held[: self.num], np.empty(room, held.dtype)])
                for held in (self._rows, self._before, self._after)
            )
        place = slice(self.num, end)
        self._rows[place], self._before[place], self._after[place] = rows, before, after
        self.num = end

    def since(self, first: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, before and after, from the change number ``first`` on."""
        held = (self._rows, self._before, self._after)
        rows, before, after = (torch.from_numpy(part[first : self.num]) for part in held)
        return rows, before, after


class Herding:
    """Where a selection stands: how similar every row is to what was picked, and bounds on what a pick would gain.

    A bound is the gain at an earlier time. To bring it up to date, only the rows that came nearer to a pick since then
    are looked at: a pick changes few rows, once there are many.
    """

    def __init__(self, vectors_ND: Floats, radius: float, bought: Places, weights_N: Floats | None = None) -> None:
        """``bought`` are the places of rows that count as picked; they cannot be picked again."""
        self._similarity = Similarity.of(vectors_ND, radius)
        self._num_rows = len(vectors_ND)
        self._blocks = [slice(first, first + SIDE) for first in range(0, self._num_rows, SIDE)]
        self._nearest = torch.zeros(self._num_rows)
        """m: similarity to the nearest pick."""
        weights = np.ones(self._num_rows) if weights_N is None else weights_N
        self._weights = torch.from_numpy(np.asarray(weights, np.float32))
        self._nothing = NOTHING * float(weights.sum())
        self._changes = Changes()
        with single_threaded():
            for first in range(0, len(bought), SIDE):
                self._take_in(bought[first : first + SIDE])
            self._changes = Changes()  # the gains below know them
        self._taken = np.zeros(self._num_rows, bool)
        self._taken[bought] = True
        self._has_started = False

    def _start(self) -> None:
        self._has_started = True
        self._gains = self._all_gains()
        self._in_full = self._gains.copy()
        """Gains when they were last summed over all rows."""
        self._seen = np.full(self._num_rows, self._changes.num)
        """Changes that each gain knows."""
        self._bounds = counted(self._gains)
        self._bounds[self._taken] = -1.0

    def pick(self, count: int) -> Places:
        """Up to ``count`` rows, best first, ties to the lowest place; ends where no row gains anything."""
        picked: list[int] = []
        with single_threaded():
            if not self._has_started:
                self._start()
            while len(picked) < count:
                best = self._best()
                if self._bounds[best] <= self._nothing:
                    break
                self._take_in(np.array([best]))
                self._taken[best], self._bounds[best] = True, -1.0
                picked.append(best)
        return np.array(picked, np.int64)

    def pick_by_pairs(self, count: int) -> Places:
        """The same by the list of all pairs that can gain: every gain is always up to date."""
        with single_threaded():
            by_row = self._pairs()
        by_candidate, nearest = by_row.tocsc(), self._nearest.numpy()
        weights = self._weights.numpy().astype(np.float64)
        rows = np.repeat(np.arange(self._num_rows), np.diff(by_row.indptr))
        gained = weights[rows] * (by_row.data.astype(np.float64) - nearest[rows])
        gains = np.bincount(by_row.indices, gained, self._num_rows).astype(np.float64)
        bounds, picked = counted(gains), list[int]()
        bounds[self._taken] = -1.0
        while len(picked) < count:
            best = int(bounds.argmax())
            if bounds[best] <= self._nothing:
                break
            own = slice(by_candidate.indptr[best], by_candidate.indptr[best + 1])
            near, similar = by_candidate.indices[own], by_candidate.data[own]
            similar = np.where(near == best, np.float32(1), similar)
            closer = similar > nearest[near]
            near, similar = near[closer], similar[closer]
            touched = by_row[near]
            sizes = np.diff(touched.indptr)
            before, after = np.repeat(nearest[near], sizes), np.repeat(similar, sizes)
            wide = touched.data.astype(np.float64)
            lost = np.maximum(wide - before, 0) - np.maximum(wide - after, 0)
            np.subtract.at(gains, touched.indices, lost * np.repeat(weights[near], sizes))
            nearest[near] = similar
            for_sale = touched.indices[bounds[touched.indices] >= 0]
            bounds[for_sale] = counted(np.maximum(gains[for_sale], 0))
            bounds[best] = -1.0
            picked.append(best)
        return np.array(picked, np.int64)

    def _pairs(self) -> Any:
        """Sparse (N, N): the similarity of row and candidate, where it is above that of the row to its nearest pick."""
        from scipy.sparse import coo_array

        found: list[Found] = []
        for number, block in enumerate(self._blocks):
            for other in self._blocks[number:]:
                similar = self._similarity.between(block, other)
                found.append(_above(similar, self._nearest[block], block.start, other.start))
                if other != block:
                    found.append(_above(similar.T, self._nearest[other], other.start, block.start))
        rows, candidates, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return coo_array((values, (rows, candidates)), shape=(self._num_rows, self._num_rows)).tocsr()

    def num_pairs(self) -> float:
        """Pairs of a row and a candidate that is more similar to it than any pick, as evenly spaced rows tell."""
        rows = torch.from_numpy(np.unique(np.linspace(0, self._num_rows - 1, SAMPLE).astype(np.int64)))
        with single_threaded():
            num = sum(
                int((self._similarity.between(rows, block) > self._nearest[rows, None]).sum()) for block in self._blocks
            )
        return num / len(rows) * self._num_rows

    def _best(self) -> int:
        """The row of largest gain: it knows all changes, and no bound is above it."""
        size = FEWEST
        while True:
            best = int(self._bounds.argmax())
            if self._seen[best] == self._changes.num or self._bounds[best] <= self._nothing:
                return best
            top = self._top(size, best)
            self._bring_up_to_date(top[self._seen[top] < self._changes.num])
            size = min(2 * size, MOST)

    def _top(self, size: int, best: int) -> Places:
        """Places of the largest bounds, the first of all among them."""
        if size >= self._num_rows:
            return np.flatnonzero(self._bounds >= 0)
        top = np.argpartition(-self._bounds, size)[:size]
        return np.union1d(top[self._bounds[top] >= 0], [best])

    def _bring_up_to_date(self, places: Places) -> None:
        missed = self._changes.num - self._seen[places]
        order = np.argsort(missed, kind="stable")
        # Those that missed few changes apart from those that missed many; a long story is longer than the whole.
        borders = np.searchsorted(missed[order], [self._num_rows // 64, self._num_rows // 2])
        *short, long = np.split(places[order], borders)
        for some in short:
            if len(some):
                self._take_off(some)
        # What is left of a large number by taking off small ones is rounding before long.
        worn = places[self._gains[places] < WORN * self._in_full[places]]
        anew = np.union1d(long, worn)
        if len(anew):
            # Others will be due soon, and a product of many rows takes little longer than one of a few.
            due = self._top(MOST, int(self._bounds.argmax()))
            anew = np.union1d(anew, due[self._changes.num - self._seen[due] >= self._num_rows // 2])
            self._gains[anew] = self._in_full[anew] = self._summed(anew)
            places = np.union1d(places, anew)
        self._seen[places] = self._changes.num
        self._bounds[places] = np.minimum(self._bounds[places], counted(self._gains[places]))

    def _take_off(self, places: Places) -> None:
        """Take off these rows' gains what they lost by changes that they do not know."""
        first = int(self._seen[places].min())
        rows, before, after = self._changes.since(first)
        known_P = torch.from_numpy(self._seen[places] - first)[:, None]
        candidates = torch.from_numpy(_padded(places))
        for start in range(0, len(rows), SIDE):
            end = min(start + SIDE, len(rows))
            some = torch.from_numpy(_padded(rows[start:end].numpy()))
            similar_PE = self._similarity.between(candidates, some)[: len(places), : end - start]
            lost_PE = (similar_PE - before[start:end]).clamp_min_(0) - (similar_PE - after[start:end]).clamp_min_(0)
            lost_PE[torch.arange(start, end) < known_P] = 0
            self._gains[places] -= torch.mv(lost_PE, self._weights[rows[start:end]]).numpy()

    def _summed(self, places: Places) -> NDArray[np.float64]:
        """(P,) what these rows would gain now, over all rows."""
        rows, gains = torch.from_numpy(_padded(places)), np.zeros(len(places))
        for block in self._blocks:
            gained_PO = self._similarity.between(rows, block).sub_(self._nearest[block]).clamp_min_(0)
            gains += torch.mv(gained_PO, self._weights[block]).numpy()[: len(places)]
        return gains

    def _all_gains(self) -> NDArray[np.float64]:
        """(N,) the same of all rows: every similarity is computed once and serves both rows."""
        gains = np.zeros(self._num_rows)
        for number, block in enumerate(self._blocks):
            for other in self._blocks[number:]:
                similar = self._similarity.between(block, other)
                if other != block:
                    gained = (similar - self._nearest[other]).clamp_min_(0)
                    gains[block] += torch.mv(gained, self._weights[other]).numpy()
                gained = similar.sub_(self._nearest[block, None]).clamp_min_(0)
                gains[other] += torch.mv(gained.T, self._weights[block]).numpy()
        return gains

    def _take_in(self, places: Places) -> None:
        """Count these rows as picked, and note which rows are nearer to a pick now."""
        picks = torch.from_numpy(places)
        if len(places) == 1:
            nearest = self._similarity.to_one(places[0])
        else:
            nearest = torch.cat([self._similarity.between(picks, block).amax(0) for block in self._blocks])
        nearest[picks] = 1.0
        changed = np.flatnonzero((nearest > self._nearest).numpy())
        self._changes.add(changed, self._nearest.numpy()[changed], nearest.numpy()[changed])
        torch.maximum(self._nearest, nearest, out=self._nearest)
