"""Encoded bytes to red, green, blue."""

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labelbench_ray.types import Image

if TYPE_CHECKING:
    import torch
    from PIL import Image as Pillow

JPEG = b"\xff\xd8\xff"
"""First bytes of every JPEG."""


def decode_rgb(encoded: bytes | None) -> Image:
    """(height, width, 3) uint8 of any image file. Raises ValueError with the reason when it cannot be decoded.

    Grey, palette and CMYK images are converted, an alpha channel is dropped, 16-bit grey keeps its upper 8 bits, and an
    EXIF rotation is not applied: what torchvision's loaders do, except that they clip 16-bit grey to white.

    Grey and colour JPEGs by torchvision, which gives Pillow's pixels in half the time; all the rest by Pillow.
    """
    if not encoded:
        raise ValueError("it is empty")
    pixels = _decode_jpeg(encoded) if encoded.startswith(JPEG) else None
    if pixels is not None:
        return pixels
    try:
        return _decode(encoded)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they like: OSError, SyntaxError, struct.error
        raise ValueError(_in_one_line(error)) from error


def _decode_jpeg(encoded: bytes) -> Image | None:
    """None where Pillow must look: four channels, a spoilt file (its errors say more), or a torchvision without it."""
    decoder = _jpeg_decoder()
    if decoder is None:
        return None
    import torch

    try:
        pixels = decoder(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), 0)  # 0: as many channels as it has
    except RuntimeError:
        return None
    if pixels.shape[0] not in (1, 3):
        return None
    return np.ascontiguousarray(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy())


@functools.cache
def _jpeg_decoder() -> Callable[..., "torch.Tensor"] | None:
    """torchvision's operator itself: its Python wrapper warns that it will be removed, and then Pillow takes over."""
    import torch
    import torchvision  # noqa: F401  (registers its operators)

    return getattr(torch.ops.image, "decode_jpeg", None)


def _decode(encoded: bytes) -> Image:
    with _opened(encoded) as picture:
        if picture.mode.startswith("I"):  # 16-bit grey; 32-bit where an old Pillow widens it
            grey_HW = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey_HW[:, :, None], 3, axis=2)
        if picture.mode == "F":
            raise ValueError("floating-point pixels have no fixed range")
        if picture.mode == "P" and "transparency" in picture.info:
            return np.array(picture.convert("RGBA").convert("RGB"))  # in one step, Pillow warns
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _opened(encoded: bytes) -> "Pillow.Image":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError:
        raise ValueError("it is of no known image format") from None


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
