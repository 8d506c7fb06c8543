"""The encoder without weights: the image itself, made small. For the quickstart and for tests; nothing to download."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.encoders.base import EncoderCard
from labelbench_ray.encoders.preprocess import Preprocess
from labelbench_ray.errors import SpecError

if TYPE_CHECKING:
    from labelbench_ray.encoders.loaded import LoadedImageEncoder


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Resize to ``size`` x ``size``, scale to 0..1, flatten. D is ``size ** 2``, three times that in colour."""

    name: ClassVar[str] = "pixels"

    size: int = 8
    grayscale: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SpecError("encoder pixels", f"`size` must be positive, got {self.size}")

    def card(self) -> EncoderCard:
        """Its card."""
        return EncoderCard(
            library="none",
            architecture="grey pixels" if self.grayscale else "pixels",
            weights="none",
            input_size=self.size,
            preprocessing=str(self._preprocess()),
        )

    def load(self, device: str = "cpu") -> "LoadedImageEncoder":
        """Nothing is read."""
        from torch import nn

        from labelbench_ray.encoders.loaded import LoadedImageEncoder
        from labelbench_ray.encoders.modules import MeanOverChannels

        return LoadedImageEncoder(
            module=nn.Sequential(MeanOverChannels(), nn.Flatten()) if self.grayscale else nn.Flatten(),
            width=self.size**2 * (1 if self.grayscale else 3),
            preprocess=self._preprocess(),
            device=device,
        )

    def _preprocess(self) -> Preprocess:
        return Preprocess(
            size=self.size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit="squash", interpolation="bilinear"
        )
