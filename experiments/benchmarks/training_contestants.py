"""Who trains: the library, a loop over items, or LabelBench's own trainer, each as a function of seed and epochs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measure import Work
from numpy.typing import NDArray
from training_cases import P_CUTOFF, RESTART_STEPS, TRAIN_BATCH_SIZE, URATIO, Contestant, ProxyCase
from training_pools import ProxyPool

TILE_ROWS = 4096
NO_IDS = np.empty(0, np.int64)


class Asked(NamedTuple):
    """One training: its random seed, the ids that were bought before it, and for how long."""

    seed: int
    ids_L: NDArray[np.int64]
    epochs: int


Classify = Callable[[], NDArray[np.int64]]
"""What a trained model says of the held-out rows."""


@contextlib.contextmanager
def training(kind: Contestant, case: ProxyCase, pool: ProxyPool, source: Path | None) -> Iterator[Work]:
    """A contestant as a measuring process runs it: trains on the clock, and tells the held-out accuracy afterwards."""
    train = _trainer(kind, case, pool, source)
    truth = pool.read("test_labels")

    def work(asked: Asked) -> Callable[[], float]:
        classify = train(asked)
        return lambda: float((classify() == truth).mean())

    yield work


def _trainer(kind: Contestant, case: ProxyCase, pool: ProxyPool, source: Path | None) -> Callable[[Asked], Classify]:
    if kind == "loop":
        from training_loop import looping

        return looping(case, pool)
    if kind == "labelbench":
        from training_published import published

        assert source is not None
        return published(source, case, pool)
    return ours(case, pool, kind)


@dataclass(frozen=True, eq=False)
class HeldRows:
    """Features in memory, in float16 as they are stored. Satisfies ``types.Rows``."""

    rows_ND: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self.rows_ND.shape

    def slice(self, first: int, last: int) -> NDArray[Any]:
        """Rows ``first..last-1``, not copied."""
        return self.rows_ND[first:last]

    def take(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of some rows."""
        return self.rows_ND[ids]


def held_views(pool: ProxyPool) -> dict[str, HeldRows]:
    """The stored views, in memory."""
    return {name: HeldRows(pool.read(name)) for name in ("train", "strong", "test")}


def ours(case: ProxyCase, pool: ProxyPool, dtype: str) -> Callable[[Asked], Classify]:
    """The library: a new trainer each time, as in a round of a trial, whose rounds share the stored features.

    What is made of the features once (their mean and deviation) is therefore made in the turn that is not counted.
    """
    views = held_views(pool)
    labels_N = pool.read("train_labels")

    def train(asked: Asked) -> Classify:
        with tempfile.TemporaryDirectory() as folder:
            data = training_data(views, labels_N, asked, Path(folder))
            scores = linear(case, dtype, asked.epochs).fit(data).scores["test"]
        tiles = -(-scores.num_rows // scores.tile_rows)
        return lambda: np.concatenate([scores.probs(tile) for tile in range(tiles)])[: scores.num_rows].argmax(1)

    return train


def linear(case: ProxyCase, dtype: str, epochs: int) -> Any:
    """The library's linear head with the published hyper-parameters."""
    from labelbench_ray.trainers.heads import Linear

    return Linear(
        algorithm={"name": "flexmatch", "p_cutoff": P_CUTOFF, "uratio": URATIO, "num_strong_views": 1},
        optimizer="adam",
        learning_rate=case.learning_rate,
        weight_decay=case.weight_decay,
        schedule="cosine_restarts",
        restart_steps=RESTART_STEPS,
        epochs=epochs,
        min_steps=0,
        train_batch_size=TRAIN_BATCH_SIZE,
        compute_dtype=dtype,
    )


def training_data(
    views: dict[str, HeldRows], labels_N: NDArray[np.int64], asked: Asked, folder: Path, device: str = "cpu"
) -> Any:
    """What a trainer sees in a round: the bought labels, and the views in memory."""
    from labelbench_ray.trainers.base import TrainingData
    from labelbench_ray.trainers.launch import launch_inline

    clean = views["train"]
    return TrainingData(
        task="multi_class",
        class_names=tuple(str(name) for name in range(int(labels_N.max()) + 1)),
        templates=(),
        can_flip=False,
        num_rows=len(labels_N),
        ids_L=asked.ids_L,
        labels_L=labels_N[asked.ids_L],
        excluded_ids=NO_IDS,
        features={"train": clean, "test": views["test"]},
        weak=(clean,),
        strong=(views["strong"],),
        images={},
        encoder=None,
        tile_rows=TILE_ROWS,
        work_dir=folder,
        launch=launch_inline,
        device=device,
        seed=asked.seed,
        round_index=0,
    )
