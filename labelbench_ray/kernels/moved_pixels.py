"""Views that move pixels: every pixel of the view is one of the image, or black. uint8 batches on any device.

Positions are whole numbers throughout (those of affine moves in units of 2**-16, as Pillow keeps them), so the
processor and a GPU, a batch and an image alone, give the same bytes.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.types import Floats

PADDING = 0.125
"""Share of a side added by reflection at each border before the crop: 4 of CIFAR's 32 pixels."""
NUM_CROP_DRAWS = 3
"""Uniform numbers that one image takes: a shift down, a shift across, and whether it is mirrored."""
_FIXED = 65536

Positions = NDArray[np.int64]
Matrix = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): the pixel at (x, y) is taken from (a x + b y + c, d x + e y + f), x and y at pixel centres."""


def crop_and_flip(images: torch.Tensor, draws_B3: Floats, can_flip: bool) -> torch.Tensor:
    """(B, 3, H, W): a random crop of each image padded by reflection, at its own size, mirrored half of the time."""
    height, width = images.shape[-2:]
    rows_BH, columns_BW = crop_positions(height, draws_B3[:, 0]), crop_positions(width, draws_B3[:, 1])
    if can_flip:
        mirrored_B1 = draws_B3[:, 2, None] < 0.5
        columns_BW = np.where(mirrored_B1, columns_BW[:, ::-1], columns_BW)
    rows, columns = (torch.from_numpy(each).to(images.device) for each in (rows_BH, columns_BW))
    return _taken(images, (rows[:, :, None] * width + columns[:, None, :]).flatten(1))


def crop_positions(side: int, draws_B: Floats) -> Positions:
    """(B, side) which rows (or columns) are seen by a random crop of an image padded by reflection."""
    pad = min(round(side * PADDING), side - 1)
    shift_B1 = np.floor(draws_B[:, None] * (2 * pad + 1)).astype(np.int64) - pad
    positions = np.abs(np.arange(side) + shift_B1)
    return np.asarray((side - 1) - np.abs((side - 1) - positions))


def move(images: torch.Tensor, matrices: Sequence[Matrix]) -> torch.Tensor:
    """(B, 3, H, W): each image under its own affine map, by the nearest pixel; what comes from outside is black."""
    height, width = images.shape[-2:]
    steps = torch.from_numpy(_fixed_steps(matrices)).to(images.device)[:, :, :, None, None]
    y = torch.arange(height, dtype=torch.int32, device=images.device)[:, None]
    x = torch.arange(width, dtype=torch.int32, device=images.device)[None, :]
    column, row = ((steps[:, which, 0] * x + (steps[:, which, 1] * y + steps[:, which, 2])) >> 16 for which in (0, 1))
    # The sign of one of these is set where a pixel comes from outside. Bits are quicker than comparisons on a CPU.
    inside = ~((column | (width - 1 - column) | row | (height - 1 - row)) >> 31)
    moved = _taken(images, ((row * width + column) & inside).flatten(1).long())
    return moved.bitwise_and_(inside.to(torch.uint8)[:, None])


def _fixed_steps(matrices: Sequence[Matrix]) -> NDArray[np.int32]:
    """(B, 2, 3): step in x, step in y and start at the first pixel's centre, in 2**-16 pixels, for column and row."""
    steps = np.array(matrices, np.float64).reshape(-1, 2, 3)
    steps[:, :, 2] += 0.5 * (steps[:, :, 0] + steps[:, :, 1])
    return np.floor(steps * _FIXED + 0.5).astype(np.int32)


def _taken(images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The pixels at these positions (B, H * W) of each image, the same for its three channels."""
    return images.flatten(2).gather(2, positions[:, None].expand(-1, 3, -1)).view(images.shape)


def _rotation(degrees: float, width: int, height: int) -> Matrix:
    """Counter-clockwise about the middle."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y


MATRICES: dict[str, Callable[[float, int, int], Matrix]] = {
    "rotate": _rotation,
    "shear_x": lambda share, width, height: (1, share, 0, 0, 1, 0),
    "shear_y": lambda share, width, height: (1, 0, 0, share, 1, 0),
    "translate_x": lambda share, width, height: (1, 0, share * width, 0, 1, 0),
    "translate_y": lambda share, width, height: (1, 0, 0, 0, 1, share * height),
}
"""Of a magnitude, width and height: shears are about the upper left corner, translations in shares of a side."""
