"""Selection workers as Ray actors: each holds (memory-maps) the rows of its shards; only small results travel."""

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from labelbench_ray.errors import WorkerLostError
from labelbench_ray.shards import Shard, ShardRows, Spread, Workers

INLINE_BYTES = 100_000
"""Larger arguments are written to the object store once, and not for each actor."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of GNU's malloc, as malloc.h numbers them."""


class ShardHost:
    """Actor body: the workers of one or more shards, rebuilt each round."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        _keep_freed_memory()
        self._workers: dict[int, Any] = {}

    def start(self, rows: Sequence[ShardRows], worker: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Make this actor's workers for a round."""
        self._workers = {}  # those of the last round would take as much memory again
        self._workers = {part.shard.index: worker(part, *arguments) for part in rows}

    def ping(self) -> None:
        """Answer if alive."""

    def call(self, indices: Sequence[int], method: str, arguments: tuple[Any, ...]) -> list[Any]:
        """Call a method of some of the workers."""
        return [getattr(self._workers[index], method)(*arguments) for index in indices]


class ActorWorkers:
    """Workers behind actors. Shard s lives on actor s modulo the number of actors."""

    def __init__(self, shards: Sequence[Shard], actors: Sequence[Any]) -> None:
        self.shards = shards
        self._actors = actors
        self._owned = [[s.index for s in shards if s.index % len(actors) == a] for a in range(len(actors))]

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """Call the method of every worker at the same time; results in shard order whatever finishes first."""
        sent = ray.put(arguments) if _num_bytes(arguments) > INLINE_BYTES else arguments
        calls = [actor.call.remote(owned, method, sent) for actor, owned in zip(self._actors, self._owned, strict=True)]
        answers = dict(
            pair
            for owned, results in zip(self._owned, _answers(calls), strict=True)
            for pair in zip(owned, results, strict=True)
        )
        return [answers[shard.index] for shard in self.shards]

    def one(self, index: int, method: str, *arguments: Any) -> Any:
        """Call the method of one worker."""
        actor = self._actors[index % len(self._actors)]
        return _answers([actor.call.remote([index], method, arguments)])[0][0]


def _num_bytes(sent: Any) -> int:
    """Of the arrays among these arguments, and in tuples of them."""
    if isinstance(sent, np.ndarray):
        return sent.nbytes
    return sum(map(_num_bytes, sent)) if isinstance(sent, tuple) else 0


def _keep_freed_memory() -> None:
    """Let an actor use freed memory again at once, where its C library is GNU's.

    Else arrays of some 100 KB, made and dropped for every block of rows, are given back to the system and asked for
    anew: pages that have to be cleared took as long as the work on them, in one actor of two, as chance had it.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, 32 << 20)  # the largest that is allowed
        set_option(M_TRIM_THRESHOLD, 128 << 20)


def _answers(calls: list[Any]) -> list[Any]:
    """What the actors returned. Raises what an actor raised, as it would be raised in process, or WorkerLostError."""
    try:
        return list(ray.get(calls))
    except RayTaskError as error:
        raise error.cause from None
    except (RayActorError, ObjectLostError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkerLostError(reason) from None


class ActorSpread:
    """Makes the spreads of one trial over actors. Used as a context manager around the trial. A ``MakeSpread``.

    ``actor`` is what each of them holds, by Ray's names of resources. A trial that holds CPUs has reserved that in its
    own placement group, where whatever it starts must be. Its actors are made at the first round and kept while all of
    them live.

    One that holds none takes turns: for each selection it reserves a group for its actors, all at a time, and gives it
    up before it launches training workers, who are given their places all at a time too. So whoever waits holds
    nothing, and nobody waits for ever. (Actors that stayed, one on each of two nodes, left no whole node for a worker.)
    """

    def __init__(self, num_actors: int, actor: Mapping[str, float], *, in_placement_group: bool) -> None:
        self._num_actors, self._actor = num_actors, actor
        self._takes_turns = not in_placement_group
        self._group: PlacementGroup | None = None
        self._actors: list[Any] = []

    def __enter__(self) -> "ActorSpread":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __call__(self, rows: Sequence[ShardRows]) -> Spread:
        """A spread over these rows; actors of a former one are used again or ended."""
        if self._takes_turns or not _all_live(self._actors):
            self.release()
        if not self._actors:
            self._start(min(self._num_actors, len(rows)))
        return partial(self._spread, rows)

    def release(self) -> None:
        """End all actors. (If one died, in what state the others are does not matter for a round begun anew.)"""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    def _start(self, count: int) -> None:
        options = options_of(self._actor)
        if self._takes_turns:
            self._group = placement_group([dict(self._actor)] * count, strategy="PACK")
            options |= {"scheduling_strategy": PlacementGroupSchedulingStrategy(self._group)}
        self._actors = [ray.remote(ShardHost).options(**options).remote() for _ in range(count)]

    def _spread(self, rows: Sequence[ShardRows], worker: Callable[..., Any], *arguments: Any) -> Workers:
        count = len(self._actors)
        parts = [[part for part in rows if part.shard.index % count == index] for index in range(count)]
        starting = zip(self._actors, parts, strict=True)
        _answers([actor.start.remote(own, worker, arguments) for actor, own in starting])
        return ActorWorkers([part.shard for part in rows], self._actors)


def options_of(bundle: Mapping[str, float]) -> dict[str, Any]:
    """A bundle as the options of an actor, which have other names for the same."""
    named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    told: dict[str, Any] = {option: bundle[name] for name, option in named.items() if name in bundle}
    return told | {"resources": {name: amount for name, amount in bundle.items() if name not in named}}


def _all_live(actors: Sequence[Any]) -> bool:
    try:
        _answers([actor.ping.remote() for actor in actors])
    except WorkerLostError:
        return False
    return True
