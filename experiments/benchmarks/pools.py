"""Synthetic pools to time selection on: a mixture with the shape of a pool seen by a half-trained classifier."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 8192


class PoolArrays(NamedTuple):
    """What selection sees of a pool, memory-mapped, and the truth for oracles."""

    embeddings_ND: NDArray[np.float32]
    probs_NC: NDArray[np.float32]
    truth_N: NDArray[np.int64]
    ids_L: NDArray[np.int64]


def mixture(
    folder: Path, *, num_rows: int, num_classes: int, width: int, num_labeled: int, hostile: bool = False, seed: int = 0
) -> PoolArrays:
    """Write (once) and map a pool: each class is a few clusters, the head knows the class means roughly.

    Rows are rectified like a network's last layer. About seven rows in ten are predicted right, with a mean confidence
    near that. ``hostile``: tight clusters of near-copies and 94 % of the predictions saturated, the worst for pruning.
    """
    kind = "hostile" if hostile else "mixture"
    base = folder / f"{kind}-n{num_rows}-c{num_classes}-d{width}-s{seed}"
    if not (base / "truth.npy").is_file():
        base.mkdir(parents=True, exist_ok=True)
        _write(base, num_rows, num_classes, width, hostile, np.random.default_rng(seed))
    embeddings_ND, probs_NC, truth_N = (
        np.load(base / f"{name}.npy", mmap_mode="r") for name in ("embeddings", "probs", "truth")
    )
    ids_L = np.random.default_rng([seed, 1]).permutation(num_rows)[:num_labeled].astype(np.int64)
    return PoolArrays(embeddings_ND, probs_NC, np.array(truth_N), ids_L)


def _write(base: Path, num_rows: int, num_classes: int, width: int, hostile: bool, rng: np.random.Generator) -> None:
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
    shape_D, shape_C = (num_rows, width), (num_rows, num_classes)
    embeddings = np.lib.format.open_memmap(base / "embeddings.npy", "w+", np.float32, shape_D)
    probs = np.lib.format.open_memmap(base / "probs.npy", "w+", np.float32, shape_C)
    for first in range(0, num_rows, ROWS_AT_ONCE):
        labels = truth_N[first : first + ROWS_AT_ONCE]
        which = labels * clusters_per_class + rng.integers(clusters_per_class, size=len(labels))
        rows = centres[which] + spread * rng.standard_normal((len(labels), width), np.float32)
        logits = rows @ head_CD.T
        if hostile:
            sure = rng.random(len(labels)) < 0.94
            logits[sure] *= np.float32(8)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        probs[first : first + len(labels)] = logits
        embeddings[first : first + len(labels)] = np.maximum(rows * scale_D, 0)
    probs.flush()
    embeddings.flush()
    np.save(base / "truth.npy", truth_N)


def _directions(rng: np.random.Generator, count: int, width: int) -> NDArray[np.float32]:
    """(count, width) random unit vectors."""
    rows = rng.standard_normal((count, width), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
