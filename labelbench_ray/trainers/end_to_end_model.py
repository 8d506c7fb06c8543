"""The network that end-to-end training trains: an encoder, and a linear head on its embedding."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.kernels.products import operand
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.types import Floats, TrainableEncoder

if TYPE_CHECKING:
    from labelbench_ray.trainers.finetune import FineTune


class EndToEndModel(torch.nn.Module):
    """``head(embed(images))``; a zero-shot head sees embeddings of length 1, as its text embeddings are."""

    def __init__(self, encoder: torch.nn.Module, weight_CD: Floats, *, unit_embeddings: bool) -> None:
        super().__init__()
        self.encoder = encoder
        num_classes, width = weight_CD.shape
        self.head = torch.nn.Linear(width, num_classes, device="meta").to_empty(device="cpu")
        self.unit_embeddings = unit_embeddings
        with torch.no_grad():
            self.head.weight.copy_(operand(weight_CD))
            self.head.bias.zero_()

    def embed(self, images_B: torch.Tensor) -> torch.Tensor:
        """(B, D) what the head sees."""
        embeddings_BD: torch.Tensor = self.encoder(images_B).float()
        return torch.nn.functional.normalize(embeddings_BD, dim=1) if self.unit_embeddings else embeddings_BD

    def forward(self, images_B: torch.Tensor) -> torch.Tensor:
        """(B, C) logits."""
        logits_BC: torch.Tensor = self.head(self.embed(images_B))
        return logits_BC


def build_model(trainer: "FineTune", data: TrainingData, encoder: TrainableEncoder) -> EndToEndModel:
    """The model before the first step, every parameter trainable, dropout off and statistics frozen."""
    text_CD = None
    if trainer.head_init != "random":
        text_CD = encoder.zero_shot_head(data.class_names, data.templates)
    if text_CD is None and trainer.head_init == "zero_shot":
        raise TrainingError(
            trainer.name, "the encoder has no text tower for `head_init: zero_shot`", "use `head_init: random`"
        )
    weight_CD = random_head(data.num_classes, encoder.width, data.stream("head")) if text_CD is None else text_CD
    model = EndToEndModel(encoder.module, weight_CD, unit_embeddings=text_CD is not None)
    # Evaluation mode throughout: batch statistics and dropout masks would depend on how workers share a batch.
    return model.eval().requires_grad_(True)


def random_head(num_classes: int, width: int, rng: np.random.Generator) -> Floats:
    """(C, D) uniform weights within one over the square root of the width."""
    bound = width**-0.5
    return rng.uniform(-bound, bound, (num_classes, width)).astype(np.float32)


def save_weights(model: EndToEndModel, file: Path) -> None:
    """Write all parameters and buffers as safetensors."""
    from safetensors.torch import save_file

    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, file)
