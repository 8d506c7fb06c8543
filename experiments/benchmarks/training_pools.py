"""Stored features to train on: of a synthetic pool or of a real one, with a strong view and held-out rows.

A pool is a folder of ``.npy`` files, features in float16 as a store keeps them, written once and read by everyone.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from selection_pools import ROWS_AT_ONCE
from training_cases import ProxyCase

from labelbench_ray.seeding import stream

LATENT_WIDTH = 64
CLUSTERS = 4
APART, WITHIN = 0.35, 1.0
"""Distance of classes, and of the clusters of a class, in units of the latent noise."""

RECIPE = 2
"""To be raised when pools are made otherwise: kept ones are not used any more."""

Rows16 = NDArray[np.float16]


@dataclass(frozen=True)
class ProxyPool:
    """Where a pool lies. Cheap to send to another process."""

    folder: Path

    def read(self, name: str) -> NDArray[Any]:
        """``train``, ``strong`` (N, D) or ``test`` (M, D) features, ``train_labels`` (N,) or ``test_labels`` (M,)."""
        rows: NDArray[Any] = np.load(self.folder / f"{name}.npy")
        return rows

    @property
    def is_complete(self) -> bool:
        """Its last file has been written."""
        return (self.folder / "test_labels.npy").is_file()


def bought_ids(labels_N: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """(L,) ids bought at random, the same for every contestant of a seed, and at least one of each class."""
    order = stream(seed, "initial").permutation(len(labels_N))
    firsts = np.unique(labels_N[order], return_index=True)[1]
    return np.concatenate([order[np.sort(firsts)], np.delete(order, firsts)])[:count]


def proxy_pool(case: ProxyCase, folder: Path, features: Path | None) -> ProxyPool:
    """The pool of a case, made where it is not there yet."""
    if features is not None:
        told = features.stat()
        key = hashlib.sha1(f"{features.resolve()} {told.st_size} {told.st_mtime_ns}".encode()).hexdigest()[:12]
        pool = ProxyPool(folder / f"training-{features.stem}-{key}")
    else:
        pool = ProxyPool(folder / f"training-{RECIPE}-n{case.rows}-t{case.held_out}-c{case.classes}-d{case.width}")
    if not pool.is_complete:
        pool.folder.mkdir(parents=True, exist_ok=True)
        _write(pool.folder, *(_real(features) if features is not None else _mixture(case)))
    return pool


def _mixture(case: ProxyCase) -> tuple[Rows16, NDArray[np.int64], Rows16, NDArray[np.int64]]:
    """Classes of a few clusters each; the held-out rows are further ones of the same clusters.

    Rows are a rectified random map of ``LATENT_WIDTH`` latent numbers with a little noise of their own: as in an
    encoder's last layer, features are many and what varies is little, so that few labels go a long way.
    """
    rng = np.random.default_rng(case.classes)
    count = case.rows + case.held_out
    centres: NDArray[Any] = rng.standard_normal((case.classes, CLUSTERS, LATENT_WIDTH), np.float32)
    centres = APART * (centres[:, :1] + WITHIN * centres)
    spread = ((1 + np.arange(LATENT_WIDTH)) ** -0.5).astype(np.float32)
    mapping = rng.standard_normal((LATENT_WIDTH, case.width), np.float32)
    labels = rng.choice(case.classes, count, p=rng.dirichlet(np.full(case.classes, 20.0))).astype(np.int64)
    rows = np.empty((count, case.width), np.float16)
    for first in range(0, count, ROWS_AT_ONCE):
        part = labels[first : first + ROWS_AT_ONCE]
        latent = centres[part, rng.integers(CLUSTERS, size=len(part))]
        latent = (latent + rng.standard_normal(latent.shape, np.float32)) * spread
        noise = rng.standard_normal((len(part), case.width), np.float32)
        rows[first : first + ROWS_AT_ONCE] = np.maximum(latent @ mapping + noise, 0)
    return rows[: case.rows], labels[: case.rows], rows[case.rows :], labels[case.rows :]


def _real(file: Path) -> tuple[Rows16, NDArray[np.int64], Rows16, NDArray[np.int64]]:
    with np.load(file) as stored:
        train, test = (stored[f"{split}_features"].astype(np.float16) for split in ("train", "test"))
        return train, stored["train_labels"].astype(np.int64), test, stored["test_labels"].astype(np.int64)


def _write(folder: Path, train: Rows16, labels: NDArray[Any], test: Rows16, test_labels: NDArray[Any]) -> None:
    np.save(folder / "train.npy", train)
    np.save(folder / "strong.npy", _strong_view(train, np.random.default_rng(0)))
    np.save(folder / "train_labels.npy", labels)
    np.save(folder / "test.npy", test)
    np.save(folder / "test_labels.npy", test_labels)


def _strong_view(rows_ND: Rows16, rng: np.random.Generator) -> Rows16:
    """Half of the features dropped, the others doubled, and noise of a tenth of each feature's deviation added."""
    strong_ND = np.empty_like(rows_ND)
    deviation_D = rows_ND.std(axis=0, dtype=np.float32)
    for first in range(0, len(rows_ND), ROWS_AT_ONCE):
        part = rows_ND[first : first + ROWS_AT_ONCE].astype(np.float32)
        part *= 2.0 * (rng.random(part.shape, np.float32) < 0.5)
        part += 0.1 * deviation_D * rng.standard_normal(part.shape, np.float32)
        strong_ND[first : first + ROWS_AT_ONCE] = part
    return strong_ND
