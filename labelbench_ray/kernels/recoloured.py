"""Views that keep pixels where they are and change their colours: uint8 batches on any device, as Pillow defines them.

Sums over an image are of whole numbers and everything else is pixel by pixel, so that neither the batch nor the device
changes a bit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from labelbench_ray.kernels.grouped import by_group
from labelbench_ray.types import Floats

LEVELS = 256
_GREY = (19595, 38470, 7471)
"""Weights of red, green and blue in 2**-16 (ITU-R 601-2 luma)."""


def blend(images: torch.Tensor, names_B: Sequence[str], factors_B: Floats) -> torch.Tensor:
    """(B, 3, H, W): each image mixed with a plainer one, of which ``1 - factor`` is seen."""
    plain = by_group(images, names_B, lambda name, _, those: PLAINER[name](those).expand(those.shape))
    factors = torch.from_numpy(factors_B.astype(np.float32)).to(images.device)[:, None, None, None]
    return _whole(images.to(torch.float32).sub_(plain).mul_(factors).add_(plain))


def black(images: torch.Tensor) -> torch.Tensor:
    """(1, 1, 1, 1) uint8."""
    return images.new_zeros((1, 1, 1, 1))


def grey(images: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) uint8 luma."""
    red, green, blue = images.to(torch.int32).unbind(1)
    return ((red * _GREY[0] + green * _GREY[1] + blue * _GREY[2] + 0x8000) >> 16).to(torch.uint8)[:, None]


def mean_grey(images: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, 1) uint8 mean luma, rounded."""
    pixels = images.shape[-2] * images.shape[-1]
    total = grey(images).sum(dim=(1, 2, 3), dtype=torch.int64)
    return ((2 * total + pixels) // (2 * pixels)).to(torch.uint8)[:, None, None, None]


def smooth(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) uint8: five times a pixel and its eight neighbours, over 13; pixels of the border as they are."""
    wide = images.to(torch.int16)
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[..., 1:-1, 1:-1]
    smoothed = images.clone()
    smoothed[..., 1:-1, 1:-1] = _whole(around.to(torch.float32).add_(6.5).div_(13))
    return smoothed


def _whole(values: torch.Tensor) -> torch.Tensor:
    """float32 values in 0..255 cut off to uint8, as Pillow does; by way of int16, the quicker way on a CPU."""
    return values.to(torch.int16).to(torch.uint8)


PLAINER: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "brightness": black,
    "color": grey,
    "contrast": mean_grey,
    "sharpness": smooth,
}


def change_levels(images: torch.Tensor, names_B: Sequence[str], magnitudes_B: Floats) -> torch.Tensor:
    """(B, 3, H, W): every level of a channel becomes another, by a table of its own for each image and channel."""
    levels = images.flatten(2)
    magnitudes = torch.from_numpy(magnitudes_B)[:, None, None].to(images.device)
    tables = by_group(levels, names_B, lambda name, rows, those: TABLES[name](those, magnitudes[rows]))
    return tables.gather(2, levels.long()).view(images.shape)


def _autocontrast(levels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """The darkest level becomes 0, the brightest 255; a channel of one level stays."""
    lowest, highest = levels.amin(2, keepdim=True).double(), levels.amax(2, keepdim=True).double()
    every = _every_level(levels)
    reach = (highest - lowest).clamp_(min=1)
    scale = torch.full_like(reach, 255) / reach  # `255 / reach` would be rounded twice, by way of the reciprocal
    stretched = every * scale - lowest * scale
    return torch.where(highest > lowest, stretched.clamp_(0, 255), every).to(torch.uint8)


def _equalize(levels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Levels in proportion to how many pixels are darker; a channel too uniform to have steps stays."""
    counts = _histogram(levels)
    brightest = counts.gather(2, levels.amax(2, keepdim=True).long())
    step = (levels.shape[2] - brightest) // 255
    darker = counts.cumsum(2) - counts
    equalized = (darker + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, equalized.clamp_(max=255), _every_level(levels)).to(torch.uint8)


def _histogram(levels: torch.Tensor) -> torch.Tensor:
    """(B, 3, 256) how many pixels have each level."""
    counts = torch.zeros((*levels.shape[:2], LEVELS), dtype=torch.int64, device=levels.device)
    one = torch.ones((), dtype=torch.int64, device=levels.device)
    return counts.scatter_add_(2, levels.long(), one.expand(levels.shape))


def _posterize(levels: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Only the highest bits stay."""
    dropped = 8 - bits.floor().long()
    return (_every_level(levels) >> dropped << dropped).expand(-1, 3, -1).to(torch.uint8)


def _solarize(levels: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """What is as bright as the threshold is inverted."""
    every = _every_level(levels)
    return torch.where(every < share * 255, every, 255 - every).expand(-1, 3, -1).to(torch.uint8)


def _every_level(levels: torch.Tensor) -> torch.Tensor:
    return torch.arange(LEVELS, device=levels.device)[None, None, :]


TABLES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
}
"""Of the levels (B, 3, H * W) and magnitudes (B, 1, 1): the table (B, 3, 256)."""
