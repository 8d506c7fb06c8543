"""An exponential moving average of weights, which is what is kept of a training with `ema`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class WeightAverage:
    """Averages tensors that training changes in place.

    After update t the average moves by ``1 - min(decay, t / (10 + t))`` towards the weights: the first ones are
    forgotten soon, however near 1 the decay is.
    """

    def __init__(self, weights: Sequence["torch.Tensor"], decay: float) -> None:
        self._weights = [weight.detach() for weight in weights]
        self._averages = [weight.clone() for weight in self._weights]
        self._decay = decay
        self._updates = 0

    def update(self) -> None:
        """Call it after each step."""
        import torch

        self._updates += 1
        decay = min(self._decay, self._updates / (10 + self._updates))
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The weights are the averages inside, and what they were again afterwards."""
        kept = [weight.clone() for weight in self._weights]
        self.keep()
        try:
            yield
        finally:
            for weight, value in zip(self._weights, kept, strict=True):
                weight.copy_(value)

    def keep(self) -> None:
        """The weights become the averages."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"averages": self._averages, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was made."""
        self._updates = int(state["updates"])
        for average, value in zip(self._averages, state["averages"], strict=True):
            average.copy_(value)
