"""``finetune``: encoder and head are trained end to end on images, by one worker or many."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.errors import SpecError
from labelbench_ray.trainers.end_to_end_fields import EndToEndFields

if TYPE_CHECKING:
    from labelbench_ray.trainers.base import TrainingData
    from labelbench_ray.trainers.end_to_end_model import EndToEndModel


@dataclass(frozen=True, kw_only=True)
class FineTune(EndToEndFields):
    """Train the encoder with a linear head, from the pretrained weights each round."""

    name: ClassVar[str] = "finetune"

    layer_decay: float = 1.0
    """What the learning rate is multiplied by from one layer to the next, counted from the head (1: all alike)."""

    def check(self) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check()
        if not 0.0 < self.layer_decay <= 1.0:
            raise SpecError(f"trainer {self.name}", f"`layer_decay` must lie in (0, 1], got {self.layer_decay}")

    def choose_trained(self, model: "EndToEndModel", data: "TrainingData") -> None:
        """Every weight is trained."""
        model.requires_grad_(True)

    def learning_rate_scales(self, model: "EndToEndModel") -> dict[str, float]:
        """By the name of a parameter, where it is not 1. Raises TrainingError for an encoder of unknown order."""
        if self.layer_decay == 1.0:
            return {}
        from labelbench_ray.trainers.layer_decay import learning_rate_scales

        scales = learning_rate_scales(model.encoder, self.layer_decay, self.name)
        return {f"encoder.{name}": scale for name, scale in scales.items()}

    def save_model(self, model: "EndToEndModel", folder: Path) -> None:
        """``model.safetensors``: the encoder's weights and buffers under ``encoder.``, the head's under ``head.``."""
        from safetensors.torch import save_file

        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
