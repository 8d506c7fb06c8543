"""Benchmark label-efficient learning: embed a pool once, train, select, label, measure, report."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Experiment": "labelbench_ray.config",
    "embed": "labelbench_ray.api.grid",
    "plan": "labelbench_ray.api.grid",
    "report": "labelbench_ray.api.grid",
    "run": "labelbench_ray.api.grid",
    "sync": "labelbench_ray.api.grid",
}
__all__ = ["Experiment", "embed", "plan", "report", "run", "sync"]


def __getattr__(name: str) -> Any:
    # Imported on demand: `labelbench --help` and `list` must not wait for torch.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
