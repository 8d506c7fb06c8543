"""Is this machine ready? One line per check, with what to do where it is not."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    told: str


def doctor() -> list[Check]:
    """All checks. Starts nothing."""
    checks: list[Callable[[], Check]] = [
        _python,
        _torch_pair,
        _ray,
        _mlflow,
        _faiss,
        _bytecode,
        _disk,
        _stale_cluster,
        _gpu,
    ]
    return [check() for check in checks]


def _python() -> Check:
    import platform

    return Check("python", "ok", platform.python_version())


def _torch_pair() -> Check:
    try:
        import torch
        import torchvision
        from torchvision.ops import nms

        boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0])
        nms(boxes, scores, 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        return Check("torch and torchvision", "problem", f"do not match ({error}); install both from the same release")
    return Check("torch and torchvision", "ok", f"{torch.__version__} and {torchvision.__version__}")


def _ray() -> Check:
    version = importlib.metadata.version("ray")
    missing = [name for name in ("aiohttp_cors", "opencensus") if importlib.util.find_spec(name) is None]
    if missing:
        return Check("ray", "warning", f"{version} without {missing[0]}; install ray[default,data,train,tune]")
    return Check("ray", "ok", version)


def _mlflow() -> Check:
    return Check("mlflow", "ok", importlib.metadata.version("mlflow"))


def _faiss() -> Check:
    found = [name for name in ("faiss-cpu", "faiss-gpu") if _installed(name)]
    if len(found) == 2:
        return Check("faiss", "problem", "faiss-cpu and faiss-gpu own the same module; uninstall both, install one")
    if not found:
        return Check("faiss", "warning", "not installed; `pip install labelbench_ray[cpu]` or `[gpu]`")
    return Check("faiss", "ok", f"{found[0]} {importlib.metadata.version(found[0])}")


def _bytecode() -> Check:
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return Check("bytecode", "warning", "PYTHONDONTWRITEBYTECODE is set: every worker starts three times slower")
    return Check("bytecode", "ok", "compiled files are kept")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    verdict: Literal["ok", "warning"] = "ok" if free > 5 else "warning"
    return Check("disk", verdict, f"{free:.0f} GiB free here")


def _stale_cluster() -> Check:
    marker = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    if not marker.exists():
        return Check("ray leftovers", "ok", "none")
    address = marker.read_text().strip()
    if _answers(address):
        return Check("ray leftovers", "ok", f"a cluster is running at {address}")
    return Check(
        "ray leftovers",
        "problem",
        f"{marker} names a cluster that is gone ({address}): starts take 12 s more; delete it",
    )


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("gpu", "ok", "none; everything runs on the processor")
    return Check("gpu", "ok", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")


def _answers(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
