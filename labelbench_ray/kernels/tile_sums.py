"""Sums over tiles that come out the same, bit for bit, whatever the shards, and fit in little memory.

Values are added along one fixed binary tree over the tiles of the pool: tile 0 to tile 1, tile 2 to tile 3, then those
two sums, and so on. A shard adds up what lies below its own tiles and hands over the few branches that reach beyond
it; nobody ever holds a value per tile.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from labelbench_ray.kernels.products import over_tiles
from labelbench_ray.shards import ShardRows

V = TypeVar("V")

Add = Callable[[V, V], V]
"""Sum of two values, that of the lower tiles first."""


class Branch(NamedTuple, Generic[V]):
    """The sum over tiles ``position * 2**level .. (position + 1) * 2**level - 1``, as far as they exist."""

    level: int
    position: int
    value: V


def sum_over_tiles(rows: ShardRows, value_of: Callable[[int], V], add: Add[V]) -> list[Branch[V]]:
    """Branches of the sum of ``value_of(tile)`` over the tiles of a shard."""
    tree = _Tree(add)
    over_tiles(rows, lambda tile: tree.put(Branch(0, tile, value_of(tile))))
    return tree.branches()


def total(parts: Iterable[Iterable[Branch[V]]], add: Add[V]) -> V:
    """The whole sum, from the branches of every shard."""
    tree = _Tree(add)
    for part in parts:
        for branch in part:
            tree.put(branch)
    # Where the tiles are no power of two, branches are left that have nothing beside them.
    first, *others = (branch.value for branch in tree.branches())
    for value in others:
        first = add(first, value)
    return first


class _Tree(Generic[V]):
    """Branches that wait for the one beside them. May be filled from several threads, in any order."""

    def __init__(self, add: Add[V]) -> None:
        self._add = add
        self._waiting: dict[tuple[int, int], V] = {}
        self._lock = threading.Lock()

    def put(self, branch: Branch[V]) -> None:
        """Add a branch, and join pairs upwards as long as both are there."""
        level, position, value = branch
        while True:
            with self._lock:
                beside = self._waiting.pop((level, position ^ 1), None)
                if beside is None:
                    self._waiting[level, position] = value
                    return
            value = self._add(beside, value) if position % 2 else self._add(value, beside)
            level, position = level + 1, position // 2

    def branches(self) -> list[Branch[V]]:
        """What waits, by the first tile."""
        order = sorted(self._waiting, key=lambda place: place[1] << place[0])
        return [Branch(*place, self._waiting[place]) for place in order]
