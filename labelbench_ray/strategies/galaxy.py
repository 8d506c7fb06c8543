"""GALAXY: bisect towards where labels change along each class's margin (Zhang et al., 2022)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from labelbench_ray.errors import SelectionError, SpecError
from labelbench_ray.kernels.class_order import PENDING, ClassOrder, class_margin
from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.shards import ShardRows
from labelbench_ray.strategies.base import Needs, PoolShape, SelectionRequest
from labelbench_ray.types import Floats, Ids


@dataclass(frozen=True, kw_only=True)
class Galaxy:
    """Buy in the middle of the shortest run of unlabelled rows between labels that disagree, one query at a time.

    Each query draws a class uniformly (with two classes there is one order, and no draw) and looks along that class's
    order; where no such run is left it extends around a cut, and where there is no cut it buys a random row. Each
    answer steers the next query: ``rounds_per_batch=None`` is one annotation round per label, ``R`` asks
    ceil(budget / R) labels at once, which is a different algorithm with fewer trips to the annotators.

    ``compatibility="labelbench"`` repeats the published code: it extends only around cuts from outside the class to
    inside, which a descending order hardly has, and draws from numpy's legacy generator, seeded from this one.
    """

    name: ClassVar[str] = "galaxy"
    needs: ClassVar[Needs] = Needs(probabilities=True, labels_in_batch=True)

    rounds_per_batch: int | None = None
    compatibility: Literal["none", "labelbench"] = "none"

    def __post_init__(self) -> None:
        if self.rounds_per_batch is not None and self.rounds_per_batch < 1:
            raise SpecError("galaxy", f"`rounds_per_batch` must be at least 1, got {self.rounds_per_batch}")
        if self.compatibility == "labelbench" and self.rounds_per_batch is not None:
            raise SpecError("galaxy", "`compatibility: labelbench` asks label by label; leave out `rounds_per_batch`")

    def select(self, request: SelectionRequest, rng: np.random.Generator) -> Ids:
        """Ids in the order they were asked. Every one of them has been asked from the oracle."""
        if self.compatibility == "labelbench":
            draws: Draws = LegacyDraws(np.random.RandomState(int(rng.integers(2**32))))
            return query_cuts(request, draws, at_once=1, descending_only=True)
        at_once = 1 if self.rounds_per_batch is None else -(-request.labels_to_buy // self.rounds_per_batch)
        return query_cuts(request, StreamDraws(rng), at_once=at_once)

    def least_memory(self, shape: PoolShape) -> int:
        """Bytes: one class order and the margins it is made of."""
        return 24 * shape.num_rows


class Draws(Protocol):
    """The two things that are left to chance."""

    def class_index(self, num_classes: int) -> int:
        """A class, uniformly."""
        ...

    def position(self, order: ClassOrder) -> int:
        """One of the free positions of an order, uniformly."""
        ...


@dataclass(frozen=True)
class StreamDraws:
    """Draws of a named random stream."""

    rng: np.random.Generator

    def class_index(self, num_classes: int) -> int:
        """A class, uniformly."""
        return int(self.rng.integers(num_classes))

    def position(self, order: ClassOrder) -> int:
        """One of the free positions of an order, uniformly."""
        return order.free_position(int(self.rng.integers(order.num_free)))


@dataclass(frozen=True)
class LegacyDraws:
    """Draws as the published code makes them: a whole permutation of the order for one random row."""

    random: np.random.RandomState

    def class_index(self, num_classes: int) -> int:
        """A class, uniformly."""
        return int(self.random.randint(num_classes))

    def position(self, order: ClassOrder) -> int:
        """The first free position of a permutation of them all."""
        shuffled = self.random.permutation(order.num_free + order.num_taken)
        return int(shuffled[order.is_free(shuffled)][0])


def query_cuts(request: SelectionRequest, draws: Draws, *, at_once: int, descending_only: bool = False) -> Ids:
    """The selection itself: ``at_once`` queries between two trips to the oracle."""
    if request.task != "multi_class":
        raise SelectionError("galaxy", f"orders rows by class and so needs a multi_class task, got {request.task}")
    assert request.ask is not None, "declares needs.labels_in_batch"
    orders = _Orders(request)
    ids = np.concatenate([request.ids_L, np.full(request.labels_to_buy, -1, np.int64)])
    labels = np.concatenate([request.labels_L, np.full(request.labels_to_buy, PENDING, np.int64)])
    start = answered = bought = len(request.ids_L)
    while bought < len(ids):
        order = orders.of(0 if request.num_classes == 2 else draws.class_index(request.num_classes))
        order.bring_up_to_date(ids[:bought], labels[:bought])
        found = order.shortest_cut()
        if found is None:
            found = order.beside_cut(descending_only=descending_only)
        ids[bought] = order.id_at(draws.position(order)) if found is None else found
        bought += 1
        if bought - answered == at_once or bought == len(ids):
            labels[answered:bought] = request.ask(ids[answered:bought])
            answered = bought
    return ids[start:]


class _Orders:
    """One order per class, made when the class is first drawn."""

    def __init__(self, request: SelectionRequest) -> None:
        self._workers = request.spread(MarginWorker)
        usable_N = np.ones(request.num_rows, bool)
        usable_N[request.excluded_ids] = False
        self._usable = np.flatnonzero(usable_N)
        self._num_rows = request.num_rows
        self._made: dict[int, ClassOrder] = {}

    def of(self, class_index: int) -> ClassOrder:
        if class_index not in self._made:
            margins_N = np.concatenate(self._workers.each("margins", class_index))[self._usable]
            self._made[class_index] = ClassOrder(class_index, margins_N, self._usable, self._num_rows)
        return self._made[class_index]


class MarginWorker:
    """Tells the margins of a shard's rows, labelled ones included: they mark places in the order."""

    def __init__(self, rows: ShardRows) -> None:
        self._rows = rows

    def margins(self, class_index: int) -> Floats:
        """(rows of the shard,) margins of one class, by ascending id."""
        margins = over_tiles(self._rows, lambda tile: class_margin(self._rows.probs(tile), class_index))
        first = self._rows.first_id(self._rows.shard.first_tile)
        return np.concatenate(margins)[: self._rows.num_rows - first]
