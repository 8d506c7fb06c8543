"""The network that end-to-end training trains: an encoder, and a linear head on its embedding."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.kernels.products import operand
from labelbench_ray.trainers.base import TrainingData
from labelbench_ray.types import Floats, TrainableEncoder, TrainContext

if TYPE_CHECKING:
    from labelbench_ray.trainers.end_to_end_fields import EndToEndFields

CHANNELS_LAST = torch.channels_last
"""How images and the weights of convolutions lie in memory: MobileNetV2 trains 1.3 times as fast on a processor."""


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
        embeddings_BD: torch.Tensor = self.encoder(images_B.contiguous(memory_format=CHANNELS_LAST)).float()
        return torch.nn.functional.normalize(embeddings_BD, dim=1) if self.unit_embeddings else embeddings_BD

    def forward(self, images_B: torch.Tensor) -> torch.Tensor:
        """(B, C) logits."""
        logits_BC: torch.Tensor = self.head(self.embed(images_B))
        return logits_BC

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """The parameters with a gradient, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}


def build_model(trainer: "EndToEndFields", data: TrainingData, encoder: TrainableEncoder) -> EndToEndModel:
    """The model before the first step, dropout off and statistics frozen, what is trained chosen."""
    text_CD = None
    if trainer.head_init != "random":
        text_CD = encoder.zero_shot_head(data.class_names, data.templates)
    if text_CD is None and trainer.head_init == "zero_shot":
        raise TrainingError(
            trainer.name, "the encoder has no text tower for `head_init: zero_shot`", "use `head_init: random`"
        )
    weight_CD = random_head(data.num_classes, encoder.width, data.stream("head")) if text_CD is None else text_CD
    model = EndToEndModel(encoder.module, weight_CD, unit_embeddings=text_CD is not None)
    trainer.choose_trained(model, data)
    # Evaluation mode throughout: batch statistics and dropout masks would depend on how workers share a batch.
    return model.eval().to(data.device).to(memory_format=CHANNELS_LAST)


def random_head(num_classes: int, width: int, rng: np.random.Generator) -> Floats:
    """(C, D) uniform weights within one over the square root of the width."""
    bound = width**-0.5
    return rng.uniform(-bound, bound, (num_classes, width)).astype(np.float32)


def data_parallel(model: torch.nn.Module, context: TrainContext) -> torch.nn.Module:
    """The model as this worker trains it: gradients are averaged over workers in the backward pass."""
    if context.world_size == 1:
        return model
    device = torch.device(context.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.11 has no other name for `broadcast_buffers` yet
        # A static graph may hold parameters without a gradient, such as those of a layer the embedding skips.
        return torch.nn.parallel.DistributedDataParallel(
            model, device_ids=None if device.type == "cpu" else [device], broadcast_buffers=False, static_graph=True
        )
