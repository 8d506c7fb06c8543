"""What a number was made with: kept beside every trial, and the numeric class of its rows."""

import functools
import importlib.metadata
import platform
import sys
from typing import Any

from labelbench_ray.config import EvaluationTrial, Trial
from labelbench_ray.identity import describe

PACKAGES = (
    "labelbench_ray",
    "numpy",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "ray",
    "pyarrow",
    "scikit-learn",
)


def describe_trial(trial: Trial | EvaluationTrial, experiment: str, device: str) -> dict[str, Any]:
    """What was asked, what it became, and with what it was made: the trial's ``trial.json``."""
    return {
        "experiment": experiment,
        "trial": trial.id,
        "kind": trial.kind,
        "labels": trial.labels(),
        "seed": trial.seed,
        "identity": trial.identity(),
        "asked": {"trainer": describe(trial.trainer, resolve_paths=False)},
        "numeric_class": numeric_class(device),
        "versions": versions(),
        "machine": machine(),
    }


def numeric_class(device: str) -> str:
    """Rows of one numeric class are comparable bit by bit; across classes only within rounding.

    Device kind, instruction set of the processor, how products are computed, and the version of the library.
    """
    import torch

    from labelbench_ray.kernels.products import arithmetic

    if device.startswith("cuda"):
        kind = f"{torch.cuda.get_device_name(0).replace(' ', '_')}-{arithmetic('cuda')}"
    else:
        kind = f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}-{arithmetic()}"
    return f"{kind}-torch{torch.__version__}"


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """The machine this process runs on."""
    import psutil

    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far."""
    import resource

    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
