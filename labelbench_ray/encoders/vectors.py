"""The encoder of data sets that hold vectors already: they are stored as they are."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.encoders.base import EncoderCard, LoadedEncoder
from labelbench_ray.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Passes the vectors of a data set through. Embedding reads them from the data set, so nothing is ever loaded."""

    name: ClassVar[str] = "vectors"

    def card(self) -> EncoderCard:
        """Its card."""
        return EncoderCard(library="none", architecture="vectors", weights="none", input_size=0, preprocessing="none")

    def load(self, device: str = "cpu") -> LoadedEncoder:
        """Raises SpecError: there are no images to encode."""
        raise SpecError(
            "encoder vectors",
            "passes vectors through and encodes no image; use a data set of vectors with a trainer on features, "
            "or another encoder",
        )
