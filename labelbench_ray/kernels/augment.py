"""Views: what is done to an example before it is encoded, as a function of (view seed, example id, k) alone.

Neither the batch an example comes in, nor its neighbours, nor the worker changes a view. For images ``weak`` is a
random crop and a flip, ``strong`` adds RandAugment and Cutout. For vectors ``weak`` is ``clean`` and ``strong`` is
dropout with a little noise.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.errors import SpecError
from labelbench_ray.seeding import example_stream
from labelbench_ray.types import Floats, Ids, Image, Rows

PADDING = 0.125
"""Share of a side added by reflection at each border before the crop: 4 of CIFAR's 32 pixels."""
VECTOR_DROPOUT = 0.5
VECTOR_NOISE = 0.1
"""Deviation of the noise on vectors, in deviations of the pool, dimension by dimension."""
MOMENT_ROWS = 8192


@dataclass(frozen=True, kw_only=True)
class View:
    """Which version of an example: ``clean``, or the ``index``-th weak or strong one under a seed."""

    kind: Literal["clean", "weak", "strong"] = "clean"
    index: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.index < 0 or self.seed < 0:
            raise SpecError("view", f"`index` and `seed` must not be negative, got {self.index} and {self.seed}")
        if self.kind == "clean" and (self.index or self.seed):
            raise SpecError("view", f"a clean view has no index and no seed, got {self.index} and {self.seed}")

    def stream(self, example_id: int) -> np.random.Generator:
        """The random stream of one example in this view."""
        return example_stream(self.seed, f"{self.kind}-{self.index}", example_id)


CLEAN = View()


def augment_images(images: list[Image], ids: Ids, view: View, can_flip: bool) -> list[Image]:
    """The images of these ids in this view, each (H, W, 3) uint8 of its own size.

    ``can_flip`` allows mirroring. The clean view returns the images themselves.
    """
    if view.kind == "clean":
        return images
    change = _strong_image if view.kind == "strong" else _weak_image
    return [
        change(image, view.stream(int(example_id)), can_flip) for image, example_id in zip(images, ids, strict=True)
    ]


def _weak_image(image: Image, rng: np.random.Generator, can_flip: bool) -> Image:
    """A crop of the reflected image at its own size, mirrored half of the time."""
    rows, columns = (_crop_positions(side, rng) for side in image.shape[:2])
    if can_flip and rng.random() < 0.5:
        columns = columns[::-1]
    return image.take(rows, axis=0).take(columns, axis=1)


def _crop_positions(side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(side,) which rows (or columns) are seen by a random crop of the image padded by reflection."""
    pad = min(round(side * PADDING), side - 1)
    positions = np.abs(np.arange(side) + rng.integers(-pad, pad + 1))
    return np.asarray((side - 1) - np.abs((side - 1) - positions))


def _strong_image(image: Image, rng: np.random.Generator, can_flip: bool) -> Image:
    import torch

    from labelbench_ray.kernels.rand_augment import rand_augment

    weak = torch.from_numpy(_weak_image(image, rng, can_flip)).permute(2, 0, 1).contiguous()
    return np.asarray(rand_augment(weak, rng).permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and deviation of each dimension over the pool."""

    mean_D: Floats
    deviation_D: Floats


def pool_moments(rows: Rows) -> Moments:
    """Moments over all rows, in float64 by tiles in order, so that they are the same wherever they are computed."""
    num_rows, width = rows.shape
    tiles = [(first, min(first + MOMENT_ROWS, num_rows)) for first in range(0, num_rows, MOMENT_ROWS)]
    mean_D, variance_D = np.zeros(width), np.zeros(width)
    for first, last in tiles:
        mean_D += rows.slice(first, last).sum(axis=0, dtype=np.float64) / num_rows
    for first, last in tiles:  # a second pass: E[x^2] - E[x]^2 cancels
        variance_D += np.square(rows.slice(first, last) - mean_D).sum(axis=0) / num_rows
    return Moments(mean_D.astype(np.float32), np.sqrt(variance_D).astype(np.float32))


def augment_vectors(vectors_ND: Floats, ids: Ids, view: View, pool: Moments | None) -> Floats:
    """(N, D) float32 vectors of these ids in this view. The pool's moments are needed for strong views only.

    Strong: dropout and noise in units of the pool, so that once a trainer has standardised by the pool's moments it
    sees plain dropout (kept values doubled, dropped ones at 0) plus noise of deviation 0.1.
    """
    if view.kind != "strong":
        return vectors_ND.astype(np.float32)
    assert pool is not None, "a strong view of vectors needs the pool's moments"
    streams = [view.stream(int(example_id)) for example_id in ids]
    width = vectors_ND.shape[1]
    kept_ND = np.stack([rng.random(width, np.float32) >= VECTOR_DROPOUT for rng in streams])
    noise_ND = np.stack([rng.standard_normal(width, np.float32) for rng in streams])
    centred_ND = vectors_ND.astype(np.float32) - pool.mean_D
    dropped_ND = centred_ND * kept_ND / np.float32(1 - VECTOR_DROPOUT)
    return np.asarray(pool.mean_D + dropped_ND + np.float32(VECTOR_NOISE) * pool.deviation_D * noise_ND)
