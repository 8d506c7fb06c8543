"""Small models to put adapters on, with weights that no library's random initialisation changes."""

import numpy as np
import torch
from encoders_to_train import OPEN_CLIP_VIT, VIT

from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.trainers.end_to_end_model import EndToEndModel

BASES = {"timm": VIT, "open_clip": OPEN_CLIP_VIT}


def small_model(base):
    """Encoder and head with frozen weights that are a function of their names' order."""
    encoder = ENCODERS.build(BASES[base]).load()
    model = EndToEndModel(encoder.module, np.zeros((3, encoder.width), np.float32), unit_embeddings=False)
    fill(model, np.random.default_rng(0))
    return model.eval().requires_grad_(False)


def perturb(model):
    """Give adapters and head values that show."""
    trained = {name: value for name, value in model.named_parameters() if "lora_" in name or "head" in name}
    fill(
        torch.nn.ParameterDict({name.replace(".", "/"): value for name, value in trained.items()}),
        np.random.default_rng(1),
    )


def images_for(base):
    """(2, 3, H, W) float32."""
    side = ENCODERS.build(BASES[base]).card().input_size
    return torch.from_numpy(np.random.default_rng(2).normal(size=(2, 3, side, side)).astype(np.float32))


def fill(module, rng):
    with torch.no_grad():
        for _, value in sorted(module.named_parameters()):
            value.copy_(torch.from_numpy(rng.normal(0, 0.2, tuple(value.shape)).astype(np.float32)))
