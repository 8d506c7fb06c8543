"""Replaying recorded selections of LabelBench's own classes in compatibility mode, list for list."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from cases import OPTIONS
from numpy.typing import NDArray

from labelbench_ray.shards import ShardRows, cut_into_shards, spread_locally
from labelbench_ray.strategies.base import STRATEGIES, SelectionRequest, Strategy
from labelbench_ray.strategies.select import select

TILE_ROWS = 64
SHARDS = 3

RECORDED_WITH: dict[str, dict[str, Any]] = {"direct": OPTIONS["direct"], "bait": {"pca_width": 8}}
"""Parameters of the recordings, where a strategy has any."""

IN_ANY_ORDER = frozenset({"direct"})
"""The published code returns a set."""


class SeedingStream(np.random.Generator):
    """A stream whose first whole number is given: a compatibility mode seeds its legacy generator with it."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._first: int | None = seed

    def integers(self, *arguments: Any, **options: Any) -> Any:
        """The seed; then as always."""
        first, self._first = self._first, None
        return super().integers(*arguments, **options) if first is None else first


@dataclass(frozen=True, eq=False)
class RecordedScores:
    """Arrays of a recording, tile by tile."""

    probs_NC: NDArray[np.float64]
    embeddings_ND: NDArray[np.float32]
    tile_rows: int = TILE_ROWS

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.probs_NC)

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.probs_NC.shape[1])

    @property
    def width(self) -> int:
        """D."""
        return int(self.embeddings_ND.shape[1])

    def probs(self, tile: int) -> NDArray[np.float64]:
        """(T, C)."""
        return self._tile(self.probs_NC, tile)

    def embeddings(self, tile: int) -> NDArray[np.float32]:
        """(T, D)."""
        return self._tile(self.embeddings_ND, tile)

    def _tile(self, rows: NDArray[Any], tile: int) -> NDArray[Any]:
        part = rows[tile * TILE_ROWS : (tile + 1) * TILE_ROWS]
        return np.concatenate([part, np.zeros((TILE_ROWS - len(part), rows.shape[1]), rows.dtype)])


def replay_all(folder: Path) -> bool:
    """Replay every recording of a folder, say what differs, and count. True if there are any and all are equal."""
    files = sorted(folder.glob("*.npz"))
    told = [difference(file) for file in files]
    for file, what in zip(files, told, strict=True):
        if what:
            print(f"{file.name}: {what}")
    equal = told.count("")
    print(f"{equal} of {len(files)} equal")
    return 0 < equal == len(files)


def difference(file: Path) -> str:
    """Where our list parts from the recorded one; empty if nowhere."""
    name = file.stem.split("_")[0]
    if name not in STRATEGIES.names():
        return f"there is no strategy {name}"
    strategy_class: Any = STRATEGIES.get(name)
    if "compatibility" not in {field.name for field in fields(strategy_class)}:
        return f"{name} has no compatibility mode"
    strategy = strategy_class(compatibility="labelbench", **RECORDED_WITH.get(name, {}))
    with np.load(file) as stored:
        recorded = dict(stored)
    ours, theirs = _replay(strategy, recorded), recorded["selected"]
    if name in IN_ANY_ORDER:
        ours, theirs = np.sort(ours), np.sort(theirs)
    if len(ours) != len(theirs):
        return f"{len(ours)} rows were bought, {len(theirs)} recorded"
    places = np.flatnonzero(ours != theirs)
    return f"differs from entry {places[0]} of {len(theirs)} on, {len(places)} in all" if places.size else ""


def _replay(strategy: Strategy, recorded: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    scores = RecordedScores(recorded["probabilities"], recorded["features"])
    ids_L, labels_N = recorded["labeled"].astype(np.int64), recorded["labels"].astype(np.int64)
    parts = [
        ShardRows(
            shard=shard,
            num_rows=scores.num_rows,
            tile_rows=TILE_ROWS,
            taken_ids=np.sort(ids_L),
            probabilities=scores if strategy.needs.probabilities else None,
            representations=scores if strategy.needs.embeddings else None,
        )
        for shard in cut_into_shards(scores.num_rows, TILE_ROWS, SHARDS)
    ]
    request = SelectionRequest(
        num_rows=scores.num_rows,
        num_classes=scores.num_classes,
        tile_rows=TILE_ROWS,
        labels_to_buy=int(recorded["budget"]),
        ids_L=ids_L,
        labels_L=labels_N[ids_L],
        spread=spread_locally(parts),
        width=scores.width if strategy.needs.embeddings else 0,
        ask=(lambda ids: labels_N[ids]) if strategy.needs.labels_in_batch else None,
    )
    return select(strategy, request, SeedingStream(int(recorded["rng_seed"])))
