"""Pools to time selection on: synthetic ones, with the shape of a pool seen by a half-trained classifier, or real.

A pool is a folder of ``.npy`` files, written once and memory-mapped by everyone who competes on it.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 8192
TILE_ROWS = 4096


class PoolArrays(NamedTuple):
    """What selection sees of a pool, memory-mapped, and the truth for oracles."""

    embeddings_ND: NDArray[np.float32]
    probs_NC: NDArray[np.float32]
    truth_N: NDArray[np.int64]
    ids_L: NDArray[np.int64]


@dataclass(frozen=True)
class PoolFiles:
    """Where a pool lies. Cheap to send to another process."""

    folder: Path
    num_labeled: int
    trained: bool
    """Its probabilities are those of a linear head trained on the bought rows."""
    seed: int = 0
    beginning: tuple[int, int] | None = None
    """Only this many rows of what is stored, of them this many bought."""

    @property
    def probs_file(self) -> Path:
        """(N, C) probabilities."""
        return self.folder / (f"probs-head-l{self.num_labeled}.npy" if self.trained else "probs.npy")

    @property
    def head_file(self) -> Path:
        """Weight (C, D) and bias (C,) of the trained head."""
        return self.folder / f"head-l{self.num_labeled}.npz"

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """(N, D), memory-mapped."""
        return mapped(self.folder / "embeddings.npy")[: self._num_rows]

    @property
    def truth(self) -> NDArray[np.int64]:
        """(N,) the label of every row."""
        return np.array(mapped(self.folder / "truth.npy")[: self._num_rows])

    @property
    def bought(self) -> NDArray[np.int64]:
        """(L,) ids in the order they were bought."""
        shuffled = np.random.default_rng([self.seed, 1]).permutation(len(self.embeddings))
        return shuffled[: self.beginning[1] if self.beginning else self.num_labeled].astype(np.int64)

    @property
    def _num_rows(self) -> int | None:
        return self.beginning[0] if self.beginning else None

    def arrays(self) -> PoolArrays:
        """All of it, memory-mapped."""
        return PoolArrays(self.embeddings, mapped(self.probs_file)[: self._num_rows], self.truth, self.bought)


@functools.lru_cache(maxsize=8)
def mapped(file: Path) -> NDArray[Any]:
    """A plain array over the pages of a file; one map per process."""
    return np.asarray(np.load(file, mmap_mode="r"))


@dataclass(frozen=True)
class MappedRows:
    """Embeddings as a head reads them. Satisfies ``types.Rows``; pickled as the path."""

    file: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return mapped(self.file).shape

    def slice(self, first: int, last: int) -> NDArray[np.float32]:
        """Rows ``first..last-1``, not copied."""
        return mapped(self.file)[first:last]

    def take(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of some rows."""
        return mapped(self.file)[ids]


@dataclass(frozen=True)
class MappedScores:
    """Probabilities and embeddings read from memory-mapped files. Satisfies ``shards.Scores``; pickled as two paths."""

    probs_file: Path
    embeddings_file: Path
    tile_rows: int = TILE_ROWS

    @property
    def num_rows(self) -> int:
        """N."""
        return len(mapped(self.embeddings_file))

    @property
    def num_classes(self) -> int:
        """C."""
        return int(mapped(self.probs_file).shape[1])

    @property
    def width(self) -> int:
        """D."""
        return int(mapped(self.embeddings_file).shape[1])

    def probs(self, tile: int) -> NDArray[np.float32]:
        """(T, C); a view where the tile is whole."""
        return self._tile(mapped(self.probs_file), tile)

    def embeddings(self, tile: int) -> NDArray[np.float32]:
        """(T, D); a view where the tile is whole."""
        return self._tile(mapped(self.embeddings_file), tile)

    def _tile(self, rows: NDArray[np.float32], tile: int) -> NDArray[np.float32]:
        part = rows[tile * self.tile_rows : (tile + 1) * self.tile_rows]
        if len(part) == self.tile_rows:
            return part
        padded = np.zeros((self.tile_rows, rows.shape[1]), rows.dtype)
        padded[: len(part)] = part
        return padded


def mixture(
    folder: Path, *, num_rows: int, num_classes: int, width: int, num_labeled: int, hostile: bool = False, seed: int = 0
) -> PoolArrays:
    """A synthetic pool with stored probabilities, memory-mapped; see ``synthetic``."""
    files = synthetic(
        folder,
        num_rows=num_rows,
        num_classes=num_classes,
        width=width,
        num_labeled=num_labeled,
        hostile=hostile,
        seed=seed,
    )
    return files.arrays()


def synthetic(
    folder: Path,
    *,
    num_rows: int,
    num_classes: int,
    width: int,
    num_labeled: int,
    hostile: bool = False,
    trained: bool = False,
    seed: int = 0,
) -> PoolFiles:
    """Write (once) a pool: each class is a few clusters, the head knows the class means roughly.

    Rows are rectified like a network's last layer. About seven rows in ten are predicted right, with a mean confidence
    near that. ``hostile``: tight clusters of near-copies and 94 % of the predictions saturated, the worst for pruning.
    ``trained``: the probabilities are not stored, they are those of a head (see ``train_head``).
    """
    kind = "hostile" if hostile else "mixture"
    base = folder / f"{kind}-n{num_rows}-c{num_classes}-d{width}-s{seed}"
    needed = "truth.npy" if trained else "probs.npy"
    if not ((base / needed).is_file() and (base / "truth.npy").is_file()):
        base.mkdir(parents=True, exist_ok=True)
        _write(base, num_rows, num_classes, width, hostile, not trained, np.random.default_rng(seed))
    return PoolFiles(base, num_labeled, trained, seed)


def from_features(folder: Path, file: Path, num_labeled: int, seed: int = 0) -> PoolFiles:
    """A pool of real vectors: ``train_features`` and ``train_labels`` of an ``.npz`` file, standardised."""
    told = file.stat()
    key = hashlib.sha1(f"{file.resolve()} {told.st_size} {told.st_mtime_ns}".encode()).hexdigest()[:12]
    base = folder / f"features-{file.stem}-{key}"
    if not (base / "truth.npy").is_file():
        base.mkdir(parents=True, exist_ok=True)
        with np.load(file) as stored:
            rows_ND = stored["train_features"].astype(np.float32)
            labels_N = stored["train_labels"].astype(np.int64)
        np.save(base / "embeddings.npy", (rows_ND - rows_ND.mean(0)) / np.maximum(rows_ND.std(0), 1e-6))
        np.save(base / "truth.npy", labels_N)
    return PoolFiles(base, num_labeled, True, seed)


def _write(
    base: Path, num_rows: int, num_classes: int, width: int, hostile: bool, with_probs: bool, rng: np.random.Generator
) -> None:
    clusters_per_class = 4
    # A decaying spectrum, as features have; distances between class means in units of the noise.
    scale_D = ((1 + np.arange(width)) ** -0.4).astype(np.float32)
    apart = 1.5 + 0.35 * np.log(num_classes)
    means_CD = apart * _directions(rng, num_classes, width)
    shifts = 1.5 * _directions(rng, num_classes * clusters_per_class, width)
    centres = np.repeat(means_CD, clusters_per_class, axis=0) + shifts
    spread = np.float32(0.05 if hostile else 1.0)
    head_CD = means_CD + 0.3 * apart * _directions(rng, num_classes, width)
    frequency_C = rng.dirichlet(np.full(num_classes, 5.0))
    truth_N = rng.choice(num_classes, num_rows, p=frequency_C).astype(np.int64)
    embeddings = np.lib.format.open_memmap(base / "embeddings.npy", "w+", np.float32, (num_rows, width))
    probs = None
    if with_probs:
        probs = np.lib.format.open_memmap(base / "probs.draft.npy", "w+", np.float32, (num_rows, num_classes))
    for first in range(0, num_rows, ROWS_AT_ONCE):
        labels = truth_N[first : first + ROWS_AT_ONCE]
        which = labels * clusters_per_class + rng.integers(clusters_per_class, size=len(labels))
        rows = centres[which] + spread * rng.standard_normal((len(labels), width), np.float32)
        embeddings[first : first + len(labels)] = np.maximum(rows * scale_D, 0)
        sharpness = np.where(rng.random(len(labels)) < 0.94, np.float32(8), np.float32(1)) if hostile else None
        if probs is not None:
            probs[first : first + len(labels)] = _softmax(rows @ head_CD.T, sharpness)
    embeddings.flush()
    np.save(base / "truth.npy", truth_N)
    if probs is not None:
        probs.flush()
        (base / "probs.draft.npy").rename(base / "probs.npy")


def _softmax(logits: NDArray[np.float32], sharpness: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """In place. ``sharpness`` multiplies the logits of each row."""
    if sharpness is not None:
        logits *= sharpness[:, None]
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _directions(rng: np.random.Generator, count: int, width: int) -> NDArray[np.float32]:
    """(count, width) random unit vectors."""
    rows = rng.standard_normal((count, width), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
