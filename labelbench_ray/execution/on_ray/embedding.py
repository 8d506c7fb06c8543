"""Embedding by Ray Data: the rows of the pipeline are missing shards, its actors write them.

An actor embeds a shard, renames it into place and returns its manifest entry; no embedding travels. Killed at any
moment, the next run goes on with what is missing. Ray Data counts every processor of the cluster as its own, so it runs
from the driver, alone, before any trial.
"""

import logging
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ray
from ray.data import ActorPoolStrategy

from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.preflight import Node
from labelbench_ray.features.embedding import EmbedTask, ShardEmbedder
from labelbench_ray.features.store import MissingShard


def embed_on_ray(tasks: Sequence[EmbedTask], nodes: Sequence[Node], num_actors: int | None = None) -> None:
    """Make every shard that these tasks lack. Raises what the first failing actor raised."""
    rows = [{"task": pickle.dumps(task), **asdict(shard)} for task in tasks for shard in task.missing_shards()]
    if not rows:
        return
    on_gpu = any(task.device.startswith("cuda") for task in tasks)
    most = num_actors or int(sum(node.get("GPU" if on_gpu else "CPU", 0.0) for node in nodes))
    # One processor stays free for Ray Data's own reading tasks, or the pipeline never moves.
    actors = max(1, min(most if num_actors or on_gpu else most - 1, len(rows)))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    written = (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map_batches(
            ShardActor,
            batch_size=1,
            compute=ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
        )
        .take_all()
    )
    for row in written:
        if row["error"]:
            raise pickle.loads(row["error"])
    assert len(written) == len(rows), "a shard got lost between the actors and the driver"


class ShardActor:
    """Actor body: makes shards of any of the tasks; keeps the encoder of the task it worked on last."""

    def __init__(self) -> None:
        self._current: tuple[bytes, ShardEmbedder] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed the one shard of this batch. A user's error travels as data: Ray would retry and wrap it."""
        shard = MissingShard(int(batch["index"][0]), int(batch["first"][0]), int(batch["last"][0]))
        error = b""
        try:
            self._embedder(bytes(batch["task"][0])).embed(shard)
        except LabelBenchError as raised:
            error = pickle.dumps(raised)
        return {"index": batch["index"], "error": [error]}

    def _embedder(self, task: bytes) -> ShardEmbedder:
        if self._current is None or self._current[0] != task:
            self._current = (task, ShardEmbedder(pickle.loads(task)))
        return self._current[1]
