"""Small data for tests of trainers: blobs as stored features, and tiny coloured images."""

from dataclasses import dataclass

import numpy as np

from labelbench_ray.encoders.pixels import Pixels
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.trainers.launch import launch_inline

NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class ArrayRows:
    rows_ND: np.ndarray

    @property
    def shape(self):
        return self.rows_ND.shape

    def slice(self, first, last):
        return self.rows_ND[first:last]

    def take(self, ids):
        return self.rows_ND[ids]


@dataclass(frozen=True, eq=False)
class ArrayImages:
    images_NHWC: np.ndarray

    def __len__(self):
        return len(self.images_NHWC)

    def read(self, ids):
        return list(self.images_NHWC[ids])


def blobs(num_rows=120, num_classes=3, width=5, seed=0, distance=5.0):
    """Rows around one centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    labels_N = rng.permutation(np.arange(num_rows) % num_classes).astype(np.int64)
    centres_CD = distance * np.eye(num_classes, width)
    return (centres_CD[labels_N] + rng.normal(size=(num_rows, width))).astype(np.float16), labels_N


def coloured_images(num_images=60, seed=0, side=8):
    """Noisy images, brighter at the top (class 0) or at the bottom (class 1)."""
    rng = np.random.default_rng(seed)
    labels_N = rng.permutation(np.arange(num_images) % 2).astype(np.int64)
    images = rng.integers(0, 130, (num_images, side, side, 3), dtype=np.uint8)
    for image, label in zip(images, labels_N, strict=True):
        image[slice(0, side // 2) if label == 0 else slice(side // 2, side)] += 100
    return images, labels_N


def feature_data(work_dir, num_labels=30, tile_rows=32, **changes):
    """Training data on blobs; the first rows are the labelled ones."""
    rows_ND, labels_N = blobs()
    noise = np.random.default_rng(1).normal(0, 0.1, (2, *rows_ND.shape)).astype(np.float16)
    clean = ArrayRows(rows_ND)
    return training_data(
        work_dir,
        num_labels,
        labels_N,
        tile_rows=tile_rows,
        class_names=("a", "b", "c"),
        features={"train": clean, "val": ArrayRows(blobs(40, seed=1)[0]), "test": ArrayRows(blobs(50, seed=2)[0])},
        weak=(clean,),
        strong=tuple(ArrayRows(rows_ND + part) for part in noise),
        **changes,
    )


def image_data(work_dir, num_labels=20, tile_rows=16, **changes):
    """Training data on tiny images; the first ones are labelled."""
    images, labels_N = coloured_images()
    made = {"train": ArrayImages(images)}
    for split, count, seed in (("val", 10, 1), ("test", 40, 2)):
        made[split] = ArrayImages(coloured_images(count, seed)[0])
    settings = {"encoder": Pixels(size=8, grayscale=False), **changes}
    return training_data(
        work_dir, num_labels, labels_N, tile_rows=tile_rows, class_names=("top", "bottom"), images=made, **settings
    )


def training_data(work_dir, num_labels, labels_N, **settings):
    """Training data with these settings; the first rows are labelled unless `ids_L` and `labels_L` say others."""
    defaults = {
        "task": "multi_class",
        "templates": ("a photo of a {}.",),
        "can_flip": False,
        "num_rows": len(labels_N),
        "ids_L": np.arange(num_labels),
        "labels_L": labels_N[:num_labels],
        "excluded_ids": NO_IDS,
        "features": {},
        "weak": (),
        "strong": (),
        "images": {},
        "encoder": None,
        "work_dir": work_dir,
        "launch": launch_inline,
        "device": "cpu",
        "seed": 0,
        "round_index": 0,
    }
    return TrainingData(**{**defaults, **settings})


def all_probs(scores):
    """(N, C) probabilities of every row, put together from the tiles."""
    return _whole(scores, scores.probs)


def all_embeddings(scores):
    """(N, D) embeddings of every row, put together from the tiles."""
    return _whole(scores, scores.embeddings)


def _whole(scores, of_tile):
    tiles = range(-(-scores.num_rows // scores.tile_rows))
    return np.concatenate([of_tile(tile) for tile in tiles])[: scores.num_rows]
