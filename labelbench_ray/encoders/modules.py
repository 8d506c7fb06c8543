"""The small torch modules that encoders are wrapped in."""

import torch
from torch import nn


class MeanOverChannels(nn.Module):
    """(B, 3, H, W) to (B, 1, H, W). A grey image, whose channels are equal, is left as it is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Plain mean of the three channels."""
        return images.mean(dim=1, keepdim=True)


class ImageTower(nn.Module):
    """The image side of a CLIP or CoCa model: images to embeddings (B, D), before they are brought to unit length."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D). CoCa's tower also returns its tokens, which only its caption decoder reads."""
        out = self.visual(images)
        pooled: torch.Tensor = out[0] if isinstance(out, tuple) else out
        return pooled
