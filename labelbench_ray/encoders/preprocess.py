"""From decoded images to the tensor an encoder takes, with the encoder's own numbers.

The steps are those of the libraries' evaluation transforms, on uint8 tensors instead of PIL images.
Rounding between the two passes of a resize makes some values differ by one of 256 levels, rarely by two.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from labelbench_ray.types import Image

if TYPE_CHECKING:
    import torch

SMALL_IMAGE = 64 * 64 * 3
"""Values of an image up to which resizing many at once is quicker than one by one."""
Fit = Literal["shortest", "longest", "squash"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an encoder wants its images.

    ``fit`` says which side is brought to ``size / crop_fraction`` before the central square of ``size`` is cut out:
    the shortest, the longest (the rest is filled with ``fill``), or both (``squash``).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Fit = "shortest"
    interpolation: Interpolation = "bicubic"
    crop_fraction: float = 1.0
    fill: int = 0

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.4g}" for value in triple) for triple in (self.mean, self.std))
        resize = int(self.size / self.crop_fraction)
        return f"{self.interpolation} resize ({self.fit} side {resize}), crop {self.size}, mean ({mean}), std ({std})"

    def apply(self, images: list[Image]) -> "torch.Tensor":
        """(B, 3, size, size) float32 on the CPU. A row depends on its own image alone."""
        return self.normalize(self.squares(images))

    def squares(self, images: list[Image]) -> "torch.Tensor":
        """(B, 3, size, size) uint8 on the CPU: resized and cut out, still to be normalised.

        Images of one shape are resized together, which changes no value.
        """
        import torch

        if len({image.shape for image in images}) == 1 and images[0].size <= SMALL_IMAGE:
            return self._square(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
        squares = torch.empty((len(images), 3, self.size, self.size), dtype=torch.uint8)
        for place, image in enumerate(images):
            # Channels stay together, in which form torchvision resizes twice as fast.
            writable = image if image.flags.writeable else image.copy()
            squares[place] = self._square(torch.from_numpy(writable)[None].permute(0, 3, 1, 2))[0]
        return squares

    def normalize(self, squares: "torch.Tensor") -> "torch.Tensor":
        """The float32 of uint8 squares that the encoder takes, on the device where they are."""
        import torch

        mean, std = (_column(values).to(squares.device) for values in (self.mean, self.std))
        normalized = torch.empty(squares.shape, dtype=torch.float32, device=squares.device)
        # One image at a time on a CPU: it then stays in the cache from step to step.
        for few in range(len(squares)) if squares.device.type == "cpu" else (slice(None),):
            # Divided, shifted and divided again, as ToTensor and Normalize do: folding the two would change last bits.
            normalized[few].copy_(squares[few]).div_(255).sub_(mean).div_(std)
        return normalized

    def _square(self, images: "torch.Tensor") -> "torch.Tensor":
        """(B, 3, size, size) of images of one shape."""
        from torchvision.transforms.v2 import functional

        height, width = self._resized(int(images.shape[-2]), int(images.shape[-1]))
        mode = getattr(functional.InterpolationMode, self.interpolation.upper())
        resized = functional.resize(images, [height, width], interpolation=mode, antialias=True)
        short_of = [max(0, self.size - side) for side in (width, height)]
        if any(short_of):
            left, top = (missing // 2 for missing in short_of)
            right, bottom = (missing - missing // 2 for missing in short_of)
            resized = functional.pad(resized, [left, top, right, bottom], fill=[self.fill])
        cropped: torch.Tensor = functional.center_crop(resized, [self.size, self.size])
        return cropped

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        side = int(self.size / self.crop_fraction)
        if self.fit == "squash":
            return side, side
        if self.fit == "longest":  # rounded, where the shortest side's rule cuts off: both as in the libraries
            scale = side / max(height, width)
            return max(1, round(height * scale)), max(1, round(width * scale))
        short = min(height, width)
        return int(side * height / short), int(side * width / short)


def _column(values: tuple[float, float, float]) -> "torch.Tensor":
    import torch

    return torch.tensor(values).view(3, 1, 1)
