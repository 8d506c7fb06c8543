"""What a shard does for CoreSet: it keeps bounds on how far its rows are from the centres, and names the farthest."""

from collections.abc import Iterator

import numpy as np

from labelbench_ray.kernels.contenders import Centres, Contenders, Places
from labelbench_ray.kernels.distance_bounds import ROWS_AT_ONCE, RoughRows, highest
from labelbench_ray.kernels.k_center import Outsider, Picked, Proposal
from labelbench_ray.kernels.products import over_tiles, single_threaded
from labelbench_ray.kernels.ranking import k_smallest
from labelbench_ray.kernels.tiles import KeptTiles
from labelbench_ray.shards import ShardRows
from labelbench_ray.types import Floats, Ids

CENTRES_FOR_ALL = 128
"""Centres that every row is compared with; the others are for rows that may be bought."""

CENTRAL = 32
"""Of them those nearest to the mean. Far rows, which matter, are mostly nearest to such a one; but not where all rows
lie on a sphere. Contenders, against none: a fifth fewer on mixtures, as many on features of images, 6 % more on such
features of unit length.
"""

LOOKED_AHEAD = 3
"""Times the rows that are proposed are brought up to date together: fewer, larger products."""

PILOTS = 128
"""Rows that tell which centres are near to many."""

LEAST_CONTENDERS = 4
"""Times the rows that are proposed there must be room for: half of it stays when others come."""


def least_memory(num_rows: int, width: int, num_centres: int, proposed: int) -> int:
    """Bytes that a worker needs besides tiles it would like to keep."""
    contenders = min(LEAST_CONTENDERS * proposed, num_rows) * Contenders.bytes_per_row(width, num_centres)
    return _fixed_memory(num_rows, width, num_centres) + contenders


def _fixed_memory(num_rows: int, width: int, num_centres: int) -> int:
    """A bound a row and copies of it to rank; the centres, as they are and rounded, and what pilots tell of them."""
    return 48 * num_rows + num_centres * (8 * width + 12 * PILOTS + 32)


class CoverWorker:
    """Keeps a bound on each row's squared distance to the nearest centre, and makes the largest of them exact.

    Rows whose bounds are among the largest become contenders, of which more is known; of the others only the bound is.
    """

    def __init__(self, rows: ShardRows, most_centres: int) -> None:
        self._rows = rows
        self._most_centres = most_centres
        self._first_id = rows.first_id(rows.shard.first_tile)
        for_sale = np.concatenate([rows.candidates(tile) for tile in rows.tiles()])
        self._width = rows.representations.width if rows.representations else 0
        free = max(0, rows.memory_bytes - _fixed_memory(len(for_sale), self._width, most_centres))
        self._contenders_memory = free // 2
        share = free / 2 / rows.memory_bytes
        self._tiles = KeptTiles(rows, rows.embeddings, 4 * self._width * rows.tile_rows, share)
        self._bounds = np.where(for_sale, np.inf, -np.inf)
        """Of the rows that are not contenders; -inf for contenders and what is not for sale."""
        self._best_outside = Outsider(-np.inf, -1)
        self._compared = 0
        """Centres that every row was compared with."""
        self._proposed = np.empty(0, np.int64)

    def vectors(self, ids: Ids) -> Floats:
        """(M, D) embeddings of those rows that lie in this shard, by ascending id."""
        mine = np.sort(ids[self._inside(ids)])
        vectors_MD = np.empty((len(mine), self._width), np.float32)
        for first, vectors in self._read(mine):
            vectors_MD[first : first + len(vectors)] = vectors
        return vectors_MD

    def propose(self, count: int, picked: Picked) -> Proposal:
        """Take in what was picked (at first: the bought rows), then name the ``count`` farthest rows of the shard."""
        with single_threaded():
            self._take_in(count, picked)
            ranked = self._make_exact(count)
        rows, top = self._contenders, ranked[:count]
        outsiders = [Outsider(float(rows.bounds[at]), int(rows.ids[at])) for at in ranked[count : count + 1]]
        self._proposed = top
        best = min([*outsiders, self._best_outside], key=lambda row: (-row.bound, row.id))
        return Proposal(rows.ids[top], rows.bounds[top], rows.vectors_MD[top], best)

    def _make_exact(self, count: int) -> Places:
        """The ``count`` contenders of largest bounds, which are distances that count, and those that follow them."""
        rows = self._contenders
        while True:
            ranked = rows.largest(LOOKED_AHEAD * count)
            top = ranked[:count]
            if self._others_may_be_farther(top, count):
                self._add_contenders(count)
            elif len(rows.behind(top)):
                bar = rows.bounds[ranked[-1]] if len(ranked) == LOOKED_AHEAD * count else -np.inf
                rows.bring_up_to_date(rows.behind(ranked), bar)
            elif len(rows.unsettled(top)):
                rows.settle(rows.unsettled(rows.up_to_date(ranked[: count + count // 4])))
            else:
                return ranked

    def _take_in(self, count: int, picked: Picked) -> None:
        if not self._compared:
            self._start(count, picked.vectors_BD)
        self._centres.add(picked.vectors_BD, central=0 if self._compared else CENTRAL)
        self._bounds[picked.ids[self._inside(picked.ids)] - self._first_id] = -np.inf
        own_ids = self._contenders.ids[self._proposed]
        self._contenders.lay(self._proposed, picked.distances_M[np.searchsorted(picked.ids_M, own_ids)])
        self._compare_all()

    def _start(self, count: int, vectors_BD: Floats) -> None:
        """Nothing can be measured before there are centres: their mean is the origin."""
        self._centres = Centres(self._most_centres, vectors_BD.mean(axis=0), self._rows.device)
        fitting = self._contenders_memory // Contenders.bytes_per_row(self._width, self._most_centres)
        most = min(len(self._bounds), max(fitting, LEAST_CONTENDERS * count))
        self._contenders = Contenders(most, self._centres, self._rows.threads)

    def _compare_all(self) -> None:
        """Compare every row with the first centres: once if enough are there, else whenever their number doubled."""
        end = min(CENTRES_FOR_ALL, self._centres.num)
        if end < 2 * self._compared or end == self._compared:
            return
        centres = self._centres.rough.part(self._compared, end)
        over_tiles(self._rows, lambda tile: self._compare(tile, centres))
        self._compared = end
        self._rank_outside()

    def _compare(self, tile: int, centres: RoughRows) -> None:
        embeddings_TD = self._tiles[tile]
        start = self._rows.first_id(tile) - self._first_id
        for first in range(0, len(embeddings_TD), ROWS_AT_ONCE):
            part = np.asarray(embeddings_TD[first : first + ROWS_AT_ONCE], np.float32)
            rough = RoughRows.of(part, self._centres.origin_D, self._rows.device)
            bounds = highest(rough.rows_ND, centres).amin(1).add_(rough.high_N).cpu().numpy()
            place = slice(start + first, start + first + len(part))
            self._bounds[place] = np.fmin(self._bounds[place], bounds)

    def _rank_outside(self) -> None:
        best = int(self._bounds.argmax())
        self._best_outside = Outsider(float(self._bounds[best]), self._first_id + best)

    def _others_may_be_farther(self, top: Places, count: int) -> bool:
        """Whether a row that is no contender may belong among the ``count`` farthest."""
        outside = self._best_outside
        if len(top) < count:
            return outside.bound > -np.inf
        rows = self._contenders
        return (-outside.bound, outside.id) < (-rows.bounds[top[-1]], rows.ids[top[-1]])

    def _add_contenders(self, count: int) -> None:
        """Let the rows of largest bounds contend, in place of the least of the contenders where memory is short."""
        rows = self._contenders
        more = max(LEAST_CONTENDERS // 2 * count, len(self._bounds) // 16)
        more = min(more, int(np.count_nonzero(self._bounds > -np.inf)), -(-rows.most // 2))
        if rows.num + more > rows.most:
            self._drop_to(rows.most - more)
        places = np.sort(k_smallest(-self._bounds, np.arange(len(self._bounds)), more).ids_K)
        start = rows.add(places + self._first_id, self._bounds[places])
        for first, vectors in self._read(places + self._first_id):
            rows.fill(start + first, vectors)
        self._bounds[places] = -np.inf
        self._rank_outside()
        if not start:
            ranked = rows.largest(LOOKED_AHEAD * count)
            rows.meet_popular_centres_first(ranked[:: -(-len(ranked) // PILOTS)])

    def _drop_to(self, num: int) -> None:
        rows = self._contenders
        kept = np.sort(rows.largest(num))
        dropped = np.setdiff1d(np.arange(rows.num), kept, assume_unique=True)
        # As they are, not rounded up to save memory: of rows at one distance those that stay have to come first.
        self._bounds[rows.ids[dropped] - self._first_id] = rows.bounds[dropped]
        rows.keep(kept)

    def _inside(self, ids: Ids) -> Places:
        return np.flatnonzero((ids >= self._first_id) & (ids < self._first_id + len(self._bounds)))

    def _read(self, ids: Ids) -> Iterator[tuple[int, Floats]]:
        """Embeddings of rows of this shard, by ascending id: tile by tile, with the place of the first in ``ids``."""
        if not len(ids):
            return
        tiles, firsts = np.unique(ids // self._rows.tile_rows, return_index=True)
        for tile, first, part in zip(tiles.tolist(), firsts.tolist(), np.split(ids, firsts[1:]), strict=True):
            yield first, np.asarray(self._tiles[tile][part - self._rows.first_id(tile)], np.float32)
