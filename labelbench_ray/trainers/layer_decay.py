"""Layer-wise learning rates: the further a layer is from the head, the smaller its steps (Clark et al., 2020, s. 3.3).

How layers are ordered is timm's own grouping of a model, or for the image tower of open_clip's ViT a grouping of the
same form. Blocks count as one layer each, a residual block of a convolutional network too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.optimisers import make_optimizer

LAST: tuple[int] = (99999,)
"""timm's mark of what lies above all blocks."""
OPEN_CLIP_VIT = {
    "stem": r"^(?:class_embedding|positional_embedding|conv1|ln_pre)",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^(?:ln_post|attn_pool|proj)", LAST)],
}


def learning_rate_scales(encoder: torch.nn.Module, decay: float, trainer: str) -> dict[str, float]:
    """Parameter name to ``decay ** distance``, where the encoder's last layer is at distance 1 and the head at 0.

    Raises TrainingError for an encoder whose layers have no known order.
    """
    from timm.models import group_parameters

    for prefix, module, groups in _grouped(encoder):
        depths = group_parameters(module, groups, reverse=True)
        top = max(depths.values()) + 1
        return {f"{prefix}{name}": decay ** (top - depth) for name, depth in depths.items()}
    raise TrainingError(
        trainer, f"`layer_decay` knows no order of the layers of {type(encoder).__name__}", "leave `layer_decay` out"
    )


def make_scaled_optimizer(
    kind: str,
    parameters: Mapping[str, torch.nn.Parameter],
    scales: Mapping[str, float],
    learning_rate: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """``make_optimizer`` with a group of parameters for each scale; see ``set_scaled_learning_rate``."""
    by_scale: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in parameters.items():
        by_scale.setdefault(scales.get(name, 1.0), []).append(parameter)
    made = []
    for scale, alike in by_scale.items():
        made.append(make_optimizer(kind, alike, learning_rate, weight_decay))
        for group in made[-1].param_groups:
            group["learning_rate_scale"] = scale
    whole, *others = made
    for group in [group for optimizer in others for group in optimizer.param_groups]:
        whole.add_param_group(group)
    return whole


def set_scaled_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The rate of each group: this one times its layers' scale."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["learning_rate_scale"]


def _grouped(encoder: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, Any]]:
    """Modules that timm can group, outermost first, each with its prefix and its way of grouping."""
    for name, module in encoder.named_modules():
        prefix = f"{name}." if name else ""
        if hasattr(module, "group_matcher"):
            yield prefix, module, module.group_matcher(coarse=False)
        elif hasattr(getattr(module, "transformer", None), "resblocks"):
            yield prefix, module, OPEN_CLIP_VIT
