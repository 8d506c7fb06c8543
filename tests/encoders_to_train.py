"""Small encoders with weights, for tests of training on images."""

from dataclasses import dataclass

import numpy as np
import torch

VIT = {
    "name": "timm",
    "model": "vit_tiny_patch16_224",
    "model_options": {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
    "input_size": 16,
}
OPEN_CLIP_VIT = {"name": "open_clip", "model": "labelbench-vit-tiny"}
MOBILENET = {"name": "timm", "model": "mobilenetv2_035", "input_size": 32}


@dataclass(frozen=True)
class TinyNet:
    """A convolution, a normalisation layer and dropout, and optionally a text tower."""

    name = "tiny"
    text: bool = False

    def load(self, device="cpu"):
        generator = torch.Generator().manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1, bias=False, device="meta").to_empty(device="cpu"),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.5),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
        ).train()
        with torch.no_grad():
            module[0].weight.copy_(torch.randn(4, 3, 3, 3, generator=generator) * 0.3)
        return LoadedTinyNet(module.to(device), self.text)


@dataclass
class LoadedTinyNet:
    module: torch.nn.Module
    text: bool
    width: int = 16

    def squares(self, images):
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    def normalize(self, squares):
        return squares.float() / 255

    def zero_shot_head(self, class_names, templates):
        assert class_names == ("top", "bottom")
        return 10 * np.eye(2, 16, dtype=np.float32) if self.text else None
