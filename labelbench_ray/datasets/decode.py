"""Encoded bytes to red, green, blue."""

import io

import numpy as np

from labelbench_ray.types import Image


def decode_rgb(encoded: bytes | None) -> Image:
    """(height, width, 3) uint8 of any image file. Raises ValueError with the reason when it cannot be decoded.

    Grey, palette and CMYK images are converted, an alpha channel is dropped, 16-bit grey keeps its upper 8 bits, and an
    EXIF rotation is not applied: what torchvision's loaders do, except that they clip 16-bit grey to white.

    By Pillow: torchvision's own decoders gave the same pixels of a JPEG in 0.7 to 0.8 of the time, but know fewer
    formats and are deprecated since torchvision 0.29.
    """
    if not encoded:
        raise ValueError("it is empty")
    try:
        return _decode(encoded)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they like: OSError, SyntaxError, struct.error
        raise ValueError(_in_one_line(error)) from error


def _decode(encoded: bytes) -> Image:
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(encoded)) as picture:
        if picture.mode.startswith("I"):  # 16-bit grey; 32-bit where an old Pillow widens it
            grey_HW = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey_HW[:, :, None], 3, axis=2)
        if picture.mode == "F":
            raise ValueError("floating-point pixels have no fixed range")
        if picture.mode == "P" and "transparency" in picture.info:
            return np.array(picture.convert("RGBA").convert("RGB"))  # in one step, Pillow warns
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
