"""RandAugment as FixMatch uses it (Sohn et al., 2020, appendix D, table 12), on one uint8 tensor (3, H, W).

Two of fourteen operations, each with a magnitude drawn anew from its range, then always Cutout. torchvision's own
RandAugment differs: one fixed magnitude for all images, and no Cutout.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

NUM_OPERATIONS = 2
LARGEST_CUTOUT = 0.5
"""Largest side of the square that is grayed out, as a share of the width."""
GRAY = 127

Magnitude = float
Operation = Callable[["torch.Tensor", Any, Magnitude], "torch.Tensor"]


def _affine(image: "torch.Tensor", functional: Any, *, move: tuple[float, float], shear: tuple[float, float]) -> Any:
    """Shift by shares of width and height, or shear about the upper left corner, as PIL does in the reference."""
    height, width = image.shape[-2:]
    pixels = [round(move[0] * width), round(move[1] * height)]
    degrees = [math.degrees(math.atan(share)) for share in shear]
    return functional.affine(image, angle=0.0, translate=pixels, scale=1.0, shear=degrees, center=[0.0, 0.0])


OPERATIONS: dict[str, tuple[Operation, float, float]] = {
    "autocontrast": (lambda image, functional, _: functional.autocontrast(image), 0, 0),
    "brightness": (lambda image, functional, factor: functional.adjust_brightness(image, factor), 0.05, 0.95),
    "color": (lambda image, functional, factor: functional.adjust_saturation(image, factor), 0.05, 0.95),
    "contrast": (lambda image, functional, factor: functional.adjust_contrast(image, factor), 0.05, 0.95),
    "equalize": (lambda image, functional, _: functional.equalize(image), 0, 0),
    "identity": (lambda image, functional, _: image, 0, 0),
    "posterize": (lambda image, functional, bits: functional.posterize(image, math.floor(bits)), 4, 9),
    "rotate": (lambda image, functional, degrees: functional.rotate(image, degrees), -30, 30),
    "sharpness": (lambda image, functional, factor: functional.adjust_sharpness(image, factor), 0.05, 0.95),
    "shear_x": (lambda image, functional, share: _affine(image, functional, move=(0, 0), shear=(share, 0)), -0.3, 0.3),
    "shear_y": (lambda image, functional, share: _affine(image, functional, move=(0, 0), shear=(0, share)), -0.3, 0.3),
    "solarize": (lambda image, functional, share: functional.solarize(image, share * 255), 0, 1),
    "translate_x": (lambda image, functional, x: _affine(image, functional, move=(x, 0), shear=(0, 0)), -0.3, 0.3),
    "translate_y": (lambda image, functional, y: _affine(image, functional, move=(0, y), shear=(0, 0)), -0.3, 0.3),
}
"""Name to operation and the range of its magnitude. Posterize keeps 4 to 8 bits, the upper end never being drawn."""


def rand_augment(image: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
    """Two operations drawn with replacement, then Cutout. Returns a new tensor."""
    names = list(OPERATIONS)
    for choice in rng.integers(len(names), size=NUM_OPERATIONS):
        image = apply_operation(names[choice], image, rng.random())
    return cutout(image, rng)


def apply_operation(name: str, image: "torch.Tensor", share: float) -> "torch.Tensor":
    """One operation at this share (0..1) of its range of magnitudes."""
    from torchvision.transforms.v2 import functional

    operation, lowest, highest = OPERATIONS[name]
    return operation(image, functional, lowest + share * (highest - lowest))


def cutout(image: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
    """Gray out a square whose side is a random share of the width and whose centre lies anywhere in the image."""
    height, width = image.shape[-2:]
    half = rng.uniform(0, LARGEST_CUTOUT) * width / 2
    row, column = rng.uniform(0, height), rng.uniform(0, width)
    (top, bottom), (left, right) = (
        (max(0, round(centre - half)), max(0, round(centre + half))) for centre in (row, column)
    )
    cut = image.clone()
    cut[:, top:bottom, left:right] = GRAY
    return cut
