"""RandAugment as FixMatch uses it (Sohn et al., 2020, appendix D, table 12), on uint8 batches (B, 3, H, W).

Two of fourteen operations for each image, each with a magnitude drawn anew from its range, then always Cutout.
torchvision's own RandAugment differs: one fixed magnitude for all images, and no Cutout. The operations are Pillow's,
to the bit, in three families that run on the images that drew them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.grouped import by_group
from labelbench_ray.kernels.moved_pixels import MATRICES, move
from labelbench_ray.kernels.recoloured import PLAINER, TABLES, blend, change_levels
from labelbench_ray.types import Floats

NUM_OPERATIONS = 2
NUM_DRAWS = 2 * NUM_OPERATIONS + 3
"""Uniform numbers that one image takes."""
LARGEST_CUTOUT = 0.5
"""Largest side of the square that is grayed out, as a share of the width."""
GRAY = 127

RANGES: dict[str, tuple[float, float]] = {
    "autocontrast": (0, 0),
    "brightness": (0.05, 0.95),
    "color": (0.05, 0.95),
    "contrast": (0.05, 0.95),
    "equalize": (0, 0),
    "identity": (0, 0),
    "posterize": (4, 9),
    "rotate": (-30, 30),
    "sharpness": (0.05, 0.95),
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "solarize": (0, 1),
    "translate_x": (-0.3, 0.3),
    "translate_y": (-0.3, 0.3),
}
"""The range of each operation's magnitude. Posterize keeps 4 to 8 bits, the upper end never being drawn."""
NAMES = tuple(RANGES)


def rand_augment(images: torch.Tensor, draws_BK: Floats) -> torch.Tensor:
    """Two operations drawn with replacement for each image, then Cutout. Returns a new tensor."""
    for first in range(0, 2 * NUM_OPERATIONS, 2):
        names_B = [NAMES[int(draw * len(NAMES))] for draw in draws_BK[:, first]]
        images = apply_operations(images, names_B, draws_BK[:, first + 1])
    return cutout(images, draws_BK[:, 2 * NUM_OPERATIONS :])


def apply_operations(images: torch.Tensor, names_B: Sequence[str], shares_B: Floats) -> torch.Tensor:
    """To each image its own operation, at this share (0..1) of its range of magnitudes."""
    lowest_B, highest_B = np.array([RANGES[name] for name in names_B]).T
    magnitudes_B = lowest_B + shares_B * (highest_B - lowest_B)
    return by_group(
        images,
        [_family(name) for name in names_B],
        lambda family, rows, those: FAMILIES[family](those, [names_B[row] for row in rows], magnitudes_B[rows]),
    )


def _family(name: str) -> str:
    return "moves" if name in MATRICES else "blends" if name in PLAINER else "levels" if name in TABLES else "none"


def _move(images: torch.Tensor, names_B: Sequence[str], magnitudes_B: Floats) -> torch.Tensor:
    height, width = images.shape[-2:]
    return move(
        images, [MATRICES[name](float(size), width, height) for name, size in zip(names_B, magnitudes_B, strict=True)]
    )


FAMILIES: dict[str, Callable[[torch.Tensor, Sequence[str], Floats], torch.Tensor]] = {
    "moves": _move,
    "blends": blend,
    "levels": change_levels,
    "none": lambda images, names_B, magnitudes_B: images,
}


def cutout(images: torch.Tensor, draws_B3: Floats) -> torch.Tensor:
    """Gray out a square whose side is a random share of the width and whose centre lies anywhere in the image."""
    height, width = images.shape[-2:]
    half_B = draws_B3[:, 0] * LARGEST_CUTOUT * width / 2
    rows, columns = (
        torch.from_numpy(_covered(side, centre_B * side, half_B)).to(images.device)
        for side, centre_B in ((height, draws_B3[:, 1]), (width, draws_B3[:, 2]))
    )
    cut = rows[:, None, :, None] & columns[:, None, None, :]
    return (images & ~cut).bitwise_or_(cut & GRAY)


def _covered(side: int, centre_B: Floats, half_B: Floats) -> NDArray[np.uint8]:
    """(B, side) 255 for rows (or columns) that are within a square, else 0: as bits, quicker than a mask on a CPU."""
    first_B1, last_B1 = np.rint(centre_B - half_B)[:, None], np.rint(centre_B + half_B)[:, None]
    places = np.arange(side)
    return np.where((places >= first_B1) & (places < last_B1), 255, 0).astype(np.uint8)
