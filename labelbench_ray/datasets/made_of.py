"""What data sets that are made of another one take over from it."""

from typing import Any, Literal


class MadeOf:
    """Base of a data set with the field ``of``, the data set that it is made of."""

    of: Any

    @property
    def default_encoder(self) -> str | None:
        """That of the data set it is made of."""
        encoder: str | None = self.of.default_encoder
        return encoder

    @property
    def on_undecodable(self) -> Literal["refuse", "skip"]:
        """As the data set it is made of has it."""
        wanted: Literal["refuse", "skip"] = getattr(self.of, "on_undecodable", "refuse")
        return wanted
