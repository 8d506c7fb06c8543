"""Embedding by Ray Data: the rows of the pipeline are missing shards, its actors write them.

An actor embeds a shard, renames it into place and returns its manifest entry; no embedding travels. Killed at any
moment, the next run goes on with what is missing. Ray Data counts every processor of the cluster as its own, so it runs
from the driver, alone, before any trial.
"""

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayActorError

from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.executor import Embedded
from labelbench_ray.execution.preflight import Node
from labelbench_ray.features.embedding import EmbedTask, ShardEmbedder
from labelbench_ray.features.store import MissingShard

TRIES = 3
"""How often a pipeline that lost an actor or a node goes on with what is missing."""


def embed_on_ray(
    tasks: Sequence[EmbedTask],
    nodes: Sequence[Node],
    num_actors: int | None = None,
    embedded: Embedded = lambda _: None,
) -> None:
    """Make every shard that these tasks lack, telling of each. Raises what the first failing actor raised."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    on_gpu = any(task.device.startswith("cuda") for task in tasks)
    threads = _threads_per_gpu(nodes) if on_gpu else 1
    lent = [replace(task, threads=threads) for task in tasks]
    for attempt in range(1, TRIES + 1):
        rows = [{"task": pickle.dumps(task), **asdict(shard)} for task in lent for shard in task.missing_shards()]
        if not rows:
            return
        actors = _num_actors(len(rows), nodes, "GPU" if on_gpu else "CPU", num_actors)
        try:
            with _native_chatter_silenced():
                _run_pipeline(rows, actors, embedded, num_cpus=threads, num_gpus=1 if on_gpu else 0)
        except RayActorError:
            if attempt == TRIES:
                raise


def _num_actors(num_shards: int, nodes: Sequence[Node], resource: str, asked: int | None) -> int:
    """One processor stays free for Ray Data's own tasks, or the pipeline never moves."""
    there = int(sum(node.get(resource, 0.0) for node in nodes))
    return max(1, min(num_shards, asked or (there if resource == "GPU" else there - 1)))


def _threads_per_gpu(nodes: Sequence[Node]) -> int:
    """Processors that every GPU can have for reading its images, one of each node being left for Ray Data's tasks."""
    shares = [int((node.get("CPU", 0.0) - 1) // node["GPU"]) for node in nodes if node.get("GPU", 0.0) >= 1]
    return max(1, min(shares, default=1))


def _run_pipeline(
    rows: list[dict[str, Any]], num_actors: int, embedded: Embedded, num_cpus: int, num_gpus: int
) -> None:
    pipeline = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ShardActor,
        batch_size=1,
        compute=ActorPoolStrategy(size=num_actors),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
    written = 0
    for row in pipeline.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        written += 1
        embedded(int(row["rows"]))
    assert written == len(rows), "a shard got lost between the actors and the driver"


@contextlib.contextmanager
def _native_chatter_silenced() -> Iterator[None]:
    """Ray's native code warns of Ray Data's own actors, on the file descriptor and past every logging level."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class ShardActor:
    """Actor body: makes shards of any of the tasks; keeps the encoder of the task it worked on last."""

    def __init__(self) -> None:
        self._current: tuple[bytes, ShardEmbedder] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed the one shard of this batch. An error of ours or of the disk travels as data: Ray would wrap it."""
        shard = MissingShard(int(batch["index"][0]), int(batch["first"][0]), int(batch["last"][0]))
        error, rows = b"", 0
        try:
            rows = (shard.last - shard.first) * len(self._embedder(bytes(batch["task"][0])).embed(shard))
        except (LabelBenchError, OSError) as raised:
            error = pickle.dumps(raised)
        return {"index": batch["index"], "error": [error], "rows": [rows]}

    def _embedder(self, task: bytes) -> ShardEmbedder:
        if self._current is None or self._current[0] != task:
            self._current = (task, ShardEmbedder(pickle.loads(task)))
        return self._current[1]
