"""BADGE: diverse and uncertain at once, by k-means++ on gradient embeddings (Ash et al., 2020)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.kernels.k_means_pp import (
    Candidates,
    Gradients,
    TileGradients,
    distance_to_nearest,
    draw_places,
    walk,
)
from labelbench_ray.kernels.products import over_tiles, single_threaded
from labelbench_ray.shards import ShardRows, Workers, owner_of
from labelbench_ray.strategies.base import Needs, PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids, Task

CANDIDATES = 512
"""Rows drawn at a time."""


@dataclass(frozen=True, kw_only=True)
class Badge:
    """Buy rows drawn by the k-means++ rule (D^2 sampling) from the gradients that their predicted labels would cause.

    The first is the row of largest gradient, ties to the lowest id (``first="largest"``, as published), or drawn in
    proportion to the squared gradient (``first="drawn"``). When every row left lies on a centre, the rest is drawn
    uniformly.
    """

    name: ClassVar[str] = "badge"
    needs: ClassVar[Needs] = Needs(probabilities=True, embeddings=True)

    first: Literal["largest", "drawn"] = "largest"

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids in the order they were drawn."""
        return spread_out(request, rng, first=self.first)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: three numbers a row."""
        return 24 * shape.num_rows


def spread_out(
    request: SelectionRequest,
    rng: np.random.Generator,
    *,
    first: Literal["largest", "drawn"] = "largest",
    patience: float = 1.0,
) -> Ids:
    """The selection itself. ``patience`` says when to pass over the pool again, and changes no probability.

    A pass is due when rejected candidates have cost ``patience`` times as much: 0 after every centre, infinity never.
    """
    search = _Search(request, patience)
    if first == "largest":
        search.take(search.largest())
    while len(search.chosen) < request.labels_to_buy:
        if search.pass_is_due():
            search.pass_over_pool()
        if not search.has_mass():
            break
        search.try_block(rng)
    return search.filled_up(rng)


class _Search:
    """Where a selection stands: what was chosen, which centres the workers have not seen, and what rejections cost."""

    def __init__(self, request: SelectionRequest, patience: float) -> None:
        self._request = request
        self._patience = patience
        self._workers: Workers = request.spread(GradientWorker, request.task)
        self._sums: Floats = np.concatenate(self._workers.each("sums"))
        self._unseen: list[Gradients] = []
        self._rejections = 0
        self._width = 0
        self.chosen: list[int] = []

    def largest(self) -> Gradients:
        """The row of largest gradient; ties to the lowest id, which shard order gives."""
        bests: list[Gradients] = [best for best in self._workers.each("largest") if best is not None]
        return max(bests, key=lambda best: float(best.a_N[0]))

    def take(self, rows: Gradients) -> None:
        """Make these rows centres."""
        self._unseen.append(rows)
        self._width = rows.q_NC.shape[1] + rows.v_ND.shape[1]
        self.chosen.extend(rows.ids_N.tolist())

    def pass_is_due(self) -> bool:
        return bool(self._unseen) and (self._sees_nothing() or self._rejections >= self._rejections_worth_a_pass())

    def _sees_nothing(self) -> bool:
        """Only the first centre was found, and the workers' weights are not distances yet."""
        return len(self.chosen) == 1

    def _rejections_worth_a_pass(self) -> float:
        """Work of a pass over work per candidate, in multiplications: a committed count, so that no clock decides."""
        centres = sum(len(part.ids_N) for part in self._unseen)
        per_pass = self._request.num_rows * (centres + 4) * (self._width + 8)
        per_candidate = (CANDIDATES + centres) * (self._width + 8)
        return self._patience * per_pass / per_candidate

    def pass_over_pool(self) -> None:
        """Bring every row's weight up to date."""
        self._sums = np.concatenate(self._workers.each("add", _joined(self._unseen)))
        self._unseen = []
        self._rejections = 0

    def has_mass(self) -> bool:
        return bool(self._sums.sum() > 0)

    def try_block(self, rng: np.random.Generator) -> None:
        """Draw candidates from the weights as they are, and take those that are accepted."""
        tile_S, row_S, accept_S = rng.random((3, CANDIDATES))
        drawn = self._drawn(draw_places(self._sums, tile_S), row_S)
        wanted = 1 if self._patience == 0 or not self.chosen else self._request.labels_to_buy - len(self.chosen)
        allowed = self._rejections_worth_a_pass() - self._rejections
        nothing = drawn.gradients.take(np.empty(0, np.int64))
        with single_threaded():
            result = walk(drawn, _joined([nothing, *self._unseen]), accept_S, wanted, allowed)
        self._rejections += result.rejections
        if len(result.accepted):
            self.take(drawn.gradients.take(result.accepted))

    def _drawn(self, tiles_S: NDArray[np.int64], uniforms_S: Floats) -> Candidates:
        owners = np.array([owner_of(self._workers.shards, tile) for tile in range(len(self._sums))])
        return _in_turn(self._workers.each("draw", tiles_S, uniforms_S), owners[tiles_S])

    def filled_up(self, rng: np.random.Generator) -> Ids:
        """What was chosen and, where no mass is left, rows drawn uniformly from the others."""
        chosen = np.array(self.chosen, np.int64)
        missing = self._request.labels_to_buy - len(chosen)
        if not missing:
            return chosen
        others = np.setdiff1d(self._request.candidate_ids(), chosen, assume_unique=True)
        return np.concatenate([chosen, rng.choice(others, missing, replace=False)])


def _joined(parts: list[Gradients]) -> Gradients:
    ids, a, q, v = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Gradients(ids, a, q, v)


def _in_turn(parts: list[Candidates], came_from_S: NDArray[np.int64]) -> Candidates:
    """Candidates that lie sorted by where they came from, put back into the order in which they were asked for."""
    place_S = np.empty(len(came_from_S), np.int64)
    place_S[np.argsort(came_from_S, kind="stable")] = np.arange(len(came_from_S))
    gradients = _joined([part.gradients for part in parts])
    return Candidates(gradients.take(place_S), np.concatenate([part.stale_S for part in parts])[place_S])


class GradientWorker:
    """Keeps the gradients of a shard's rows and their weights: the squared distance to the nearest centre.

    Before there is a centre a weight is the squared gradient, which bounds no distance: the first centres replace it.
    Rows that are not for sale, or chosen, weigh 0.
    """

    def __init__(self, rows: ShardRows, task: Task) -> None:
        self._rows = rows
        self._first_tile = rows.shard.first_tile
        self._tiles = over_tiles(rows, lambda tile: TileGradients.of(rows.probs(tile), rows.embeddings(tile), task))
        self._for_sale = [rows.candidates(tile) for tile in rows.tiles()]
        self._weights = [np.where(mask, tile.a_T, 0.0) for mask, tile in zip(self._for_sale, self._tiles, strict=True)]
        self._has_centres = False

    def largest(self) -> Gradients | None:
        """The row for sale of largest a, ties to the lowest id; None where nothing is for sale."""
        a_N = np.concatenate([tile.a_T for tile in self._tiles])
        for_sale_N = np.concatenate(self._for_sale)
        if not for_sale_N.any():
            return None
        row = int(np.where(for_sale_N, a_N, -1.0).argmax())
        tile, place = divmod(row, self._rows.tile_rows)
        return self._gradients(tile, np.array([place]))

    def sums(self) -> Floats:
        """The weight of each tile of this shard."""
        return np.array([np.cumsum(weights_T)[-1] for weights_T in self._weights])

    def add(self, centres: Gradients) -> Floats:
        """Take in new centres (of any shard), and tell the sums."""

        def updated(tile: int) -> Floats:
            own = tile - self._first_tile
            nearest_T = distance_to_nearest(self._tiles[own], centres)
            before_T = self._weights[own] if self._has_centres else np.where(self._for_sale[own], np.inf, 0.0)
            weights_T: Floats = np.minimum(before_T, nearest_T)
            first = self._rows.first_id(tile)
            inside = (centres.ids_N >= first) & (centres.ids_N < first + len(weights_T))
            weights_T[centres.ids_N[inside] - first] = 0.0
            return weights_T

        self._weights = over_tiles(self._rows, updated)
        self._has_centres = True
        return self.sums()

    def draw(self, tiles_S: NDArray[np.int64], uniforms_S: Floats) -> Candidates:
        """One row for each entry of ``tiles_S`` that names a tile of this shard, in that order."""
        shard = self._rows.shard
        mine = (tiles_S >= shard.first_tile) & (tiles_S < shard.last_tile)
        tiles, uniforms = tiles_S[mine] - self._first_tile, uniforms_S[mine]
        parts = [self._draw_from(own, uniforms[tiles == own]) for own in np.unique(tiles)]
        return _in_turn([self._nothing(), *parts], tiles)

    def _nothing(self) -> Candidates:
        return Candidates(self._gradients(0, np.empty(0, np.int64)), np.empty(0))

    def _draw_from(self, own: int, uniforms: Floats) -> Candidates:
        places = draw_places(self._weights[own], uniforms)
        return Candidates(self._gradients(own, places), self._weights[own][places])

    def _gradients(self, own: int, places: NDArray[np.int64]) -> Gradients:
        tile = self._tiles[own]
        ids = places + self._rows.first_id(own + self._first_tile)
        return Gradients(ids, tile.a_T[places], tile.q_TC.numpy()[places], tile.v_TD.numpy()[places])
