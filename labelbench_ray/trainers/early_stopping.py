"""Early stopping on the validation loss: the weights of the best epoch are kept, training ends when none is better."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class EarlyStopping:
    """Watches tensors that training changes in place (parameters, buffers)."""

    def __init__(self, watched: Sequence["torch.Tensor"], patience: int) -> None:
        self._watched = list(watched)
        self._patience = patience
        self._best: list[torch.Tensor] = []
        self.best_loss = float("inf")
        self.waited = 0
        """Epochs since the best one."""

    def observe(self, loss: float) -> bool:
        """Take note of the validation loss after an epoch; whether training should end."""
        if loss < self.best_loss:
            self.best_loss, self.waited = loss, 0
            self._best = [tensor.detach().clone() for tensor in self._watched]
        else:
            self.waited += 1
        return self.waited >= self._patience

    def restore(self) -> None:
        """Put the best epoch's values back."""
        _copy(self._best, self._watched)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self._best, "best_loss": self.best_loss, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was made."""
        self._best, self.best_loss, self.waited = list(state["best"]), state["best_loss"], state["waited"]


def _copy(sources: Sequence["torch.Tensor"], targets: Sequence["torch.Tensor"]) -> None:
    for source, target in zip(sources, targets, strict=False):
        target.detach().copy_(source)
