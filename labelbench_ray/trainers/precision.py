"""What the products of a training are computed in."""

import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def working_dtype(compute_dtype: str, device: str) -> "torch.dtype":
    """bfloat16 where it is asked for and the device multiplies it, else float32, with a warning if it was asked for."""
    import torch

    from labelbench_ray.kernels.products import rough_dtype

    if compute_dtype == "float32":
        return torch.float32
    if rough_dtype(device) != torch.bfloat16:
        warnings.warn(f"{device} does not multiply bfloat16: training is in float32 here", stacklevel=2)
    return rough_dtype(device)


def autocast(device: str, compute_dtype: str) -> AbstractContextManager[Any]:
    """Products in bfloat16 where asked, float32 otherwise."""
    import torch

    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=compute_dtype == "bfloat16")
