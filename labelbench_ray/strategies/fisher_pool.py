"""The pool as BAIT sees it: principal components of its embeddings, and Fisher matrices summed where the rows are."""

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.errors import SelectionError
from labelbench_ray.kernels.fisher import Approximation, FisherRows, class_probabilities, fisher_sum, gains, pair_tables
from labelbench_ray.kernels.fisher_objective import FisherObjective, mean_eigenvalue
from labelbench_ray.kernels.principal import Moments, joined, principal_directions, projected, tile_moments
from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.kernels.ranking import Ranked, k_smallest, merge_smallest
from labelbench_ray.kernels.tile_sums import Branch, sum_over_tiles, total
from labelbench_ray.kernels.tiles import KeptTiles
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import SelectionRequest
from labelbench_ray.types import Floats, Ids

Sums = NDArray[np.float64]
"""(2, pairs of classes, pairs of directions) sums of Fisher matrices: over all rows, and over the bought ones."""


class FisherPool:
    """The coordinator's side. Excluded rows are no part of it: nobody will ever predict them."""

    def __init__(
        self, request: SelectionRequest, approximation: Approximation, top_classes: int, pca_width: int | None
    ) -> None:
        self._num_top = top_classes if approximation == "top_classes" else None
        self.num_classes = 2 if approximation == "binary" else request.num_classes
        self._num_labeled = len(request.ids_L)
        self.workers = request.spread(
            FisherWorker, request.excluded_ids, self.num_classes, approximation, self._num_top
        )
        moments = _finite(total(self.workers.each("moments"), joined))
        directions = None if pca_width is None else principal_directions(moments, pca_width).numpy()
        self.width = len(moments.mean_D) if directions is None else directions.shape[1]
        self._num_rows = moments.num_rows
        sums: Sums = total(self.workers.each("fisher_sums", moments.mean_D, directions), np.add)
        self._pool_sum, self._bought_sum = torch.from_numpy(sums)

    def rows(self, ids: Ids) -> FisherRows:
        """Rows of any shard, in this order."""
        x_BD = np.empty((len(ids), self.width))
        probs_BC = np.empty((len(ids), self.num_classes))
        for places, x, probs in self.workers.each("rows", ids):
            x_BD[places], probs_BC[places] = x, probs
        return FisherRows(torch.from_numpy(x_BD), torch.from_numpy(probs_BC), self._num_top)

    def objective(self, batch: FisherRows | None, num_to_buy: int, ridge: float) -> FisherObjective:
        """tr(M^-1 F) for the bought rows and a batch.

        ``ridge`` is a share of the mean eigenvalue that the sum over as many average rows of the pool has as will be in
        the set.
        """
        num_free = self.num_classes - 1
        set_sum = self._bought_sum if batch is None else self._bought_sum + fisher_sum(batch)
        mean = mean_eigenvalue(self._pool_sum, num_free, self.width) * (self._num_labeled + num_to_buy) / self._num_rows
        return FisherObjective(self._pool_sum, set_sum, num_free, self.width, ridge * mean)

    def tables(self, objective: FisherObjective) -> Floats:
        """(2, pairs of classes, pairs of directions) tables with which the gains of many rows are computed."""
        return pair_tables(objective.matrices(), self.num_classes - 1, self.width).numpy()

    def best_addition(self, tables: Floats, added: Ids) -> int:
        """The row for sale that lowers the objective most, ties to the lowest id, after some left the sale."""
        return int(merge_smallest(self.workers.each("best_addition", tables, added), 1).ids_K[0])


def _finite(moments: Moments) -> Moments:
    if not np.isfinite(moments.scatter_DD).all():
        raise SelectionError("", "embeddings are too large to be squared in single precision; scale them down")
    return moments


class FisherWorker:
    """Reduces the rows of a shard, and keeps them reduced."""

    def __init__(
        self, rows: ShardRows, excluded_ids: Ids, num_classes: int, approximation: Approximation, num_top: int | None
    ) -> None:
        self._rows = rows
        self._excluded_ids = excluded_ids
        self._num_classes = num_classes
        self._approximation = approximation
        self._num_top = num_top
        self._reduced: KeptTiles[FisherRows]
        self._added = np.empty(0, np.int64)

    def moments(self) -> list[Branch[Moments]]:
        """Mean and scatter of the embeddings."""

        def of_tile(tile: int) -> Moments:
            return tile_moments(self._rows.embeddings(tile), self._usable(tile), self._rows.device)

        return sum_over_tiles(self._rows, of_tile, joined)

    def fisher_sums(self, mean_D: Floats, directions: Floats | None) -> list[Branch[Sums]]:
        """Sums over the rows of the pool and over the bought ones, of embeddings less the mean along directions."""
        rows = self._rows
        self._width = len(mean_D) if directions is None else directions.shape[1]

        def reduced(tile: int) -> FisherRows:
            x_TD = projected(rows.embeddings(tile), mean_D, directions, rows.device)
            probs_TC = class_probabilities(rows.probs(tile), self._approximation).to(rows.device)
            unusable = torch.from_numpy(~self._usable(tile)).to(rows.device)
            x_TD[unusable] = probs_TC[unusable] = 0
            return FisherRows(x_TD, probs_TC, self._num_top)

        def sums_of(tile: int) -> Sums:
            known = self._reduced[tile]
            bought = torch.from_numpy(np.flatnonzero(self._usable(tile) & ~rows.candidates(tile)))
            sums: Sums = torch.stack([fisher_sum(known), fisher_sum(known.take(bought))]).cpu().numpy()
            return sums

        self._reduced = KeptTiles(rows, reduced, 8 * rows.tile_rows * (self._num_classes + self._width))
        return sum_over_tiles(rows, sums_of, np.add)

    def rows(self, ids: Ids) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Places in ``ids`` of the rows of this shard, their reduced embeddings and probabilities."""
        shard = self._rows.shard
        tiles = ids // self._rows.tile_rows
        places = np.flatnonzero((tiles >= shard.first_tile) & (tiles < shard.last_tile))
        x = np.empty((len(places), self._width))
        probs = np.empty((len(places), self._num_classes))
        for tile in np.unique(tiles[places]).tolist():
            inside = np.flatnonzero(tiles[places] == tile)
            found = self._reduced[tile].take(torch.from_numpy(ids[places[inside]] - self._rows.first_id(tile)))
            x[inside], probs[inside] = found.x_BD.cpu().numpy(), found.probs_BC.cpu().numpy()
        return places, x, probs

    def best_addition(self, tables: Floats, added: Ids) -> Ranked:
        """The row for sale with the largest gain, ties to the lowest id; nothing where none is for sale.

        Gains are compared in single precision, so that copies of a row tie whatever their place in a tile does to the
        last bits. ``added`` are rows, of any shard, that left the sale since the last call.
        """
        self._added = np.append(self._added, added)
        device_tables = torch.from_numpy(tables).to(self._rows.device)

        def best_of(tile: int) -> Ranked:
            first = self._rows.first_id(tile)
            for_sale = self._rows.candidates(tile).copy()
            inside = (self._added >= first) & (self._added < first + len(for_sale))
            for_sale[self._added[inside] - first] = False
            gains_T = gains(device_tables, self._reduced[tile], 1).float().cpu().numpy()
            places = np.flatnonzero(for_sale)
            return k_smallest(-gains_T[places], places + first, 1)

        return merge_smallest(over_tiles(self._rows, best_of), 1)

    def _usable(self, tile: int) -> NDArray[np.bool_]:
        """(T,) true where the row exists and is not excluded."""
        ids = np.arange(self._rows.tile_rows) + self._rows.first_id(tile)
        usable: NDArray[np.bool_] = (ids < self._rows.num_rows) & ~np.isin(ids, self._excluded_ids)
        return usable
