"""Views: what is done to an example before it is encoded, as a function of (view seed, example id, k) alone.

Neither the batch an example comes in, nor its neighbours, nor the worker changes a view. For images ``weak`` is a
random crop and a flip, ``strong`` adds RandAugment and Cutout. For vectors ``weak`` is ``clean`` and ``strong`` is
dropout with a little noise.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.keyed_draws import keyed_uniforms
from labelbench_ray.seeding import example_stream
from labelbench_ray.types import Floats, Ids, Rows

if TYPE_CHECKING:
    import torch

BLOCK_VALUES = 2**20
"""Values of uint8 images that are augmented together on a processor."""
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

    @property
    def label(self) -> str:
        """``clean``, ``weak-0``, ``strong-1``; the name of its random numbers under its seed."""
        return self.kind if self.kind == "clean" else f"{self.kind}-{self.index}"

    def stream(self, example_id: int) -> np.random.Generator:
        """The random stream of one example in this view."""
        return example_stream(self.seed, self.label, example_id)


CLEAN = View()


def augment_batch(images: "torch.Tensor", ids_B: Ids, view: View, can_flip: bool) -> "torch.Tensor":
    """The images of these ids in this view: uint8 (B, 3, H, W) to the same, on the device where they are.

    ``can_flip`` allows mirroring. The clean view returns the images themselves.
    """
    import torch

    from labelbench_ray.kernels.moved_pixels import NUM_CROP_DRAWS, crop_and_flip
    from labelbench_ray.kernels.rand_augment import NUM_DRAWS, rand_augment

    if view.kind == "clean" or len(images) == 0:
        return images
    strong = view.kind == "strong"
    draws_BK = keyed_uniforms(view.seed, view.label, ids_B, NUM_CROP_DRAWS + (NUM_DRAWS if strong else 0))
    views = []
    for block in _blocks(images):
        seen = crop_and_flip(images[block], draws_BK[block, :NUM_CROP_DRAWS], can_flip)
        views.append(rand_augment(seen, draws_BK[block, NUM_CROP_DRAWS:]) if strong else seen)
    return torch.cat(views)


def _blocks(images: "torch.Tensor") -> list[slice]:
    """The whole batch on a GPU; on a processor as many images at a time as its cache holds with what is made of them.

    Batches of another size change no bit, so neither does this.
    """
    count = len(images) if images.device.type != "cpu" else max(1, BLOCK_VALUES // images[0].numel())
    return [slice(first, first + count) for first in range(0, len(images), count)]


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
