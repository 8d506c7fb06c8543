"""How the driver's machine is doing, in MLflow's own names, so that its page of system metrics shows it."""

import contextlib
import time
from typing import Any

from labelbench_ray.tracking.mlflow.runs import Shown, now_ms

_EVERY_S = 10.0
"""As MLflow does itself, at first."""

_SHARE = 0.002
"""Of this process's time that passes between two samples later: some 3,000 samples in a week."""


class Machine:
    """Samples of processor, memory, disk, network and GPUs. Says nothing where psutil or MLflow lacks what it needs."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._due = self._began
        self._monitors: list[Any] | None = None

    def is_due(self) -> bool:
        """Whether enough time has gone by since the last sample."""
        return time.monotonic() >= self._due

    def log(self, client: Any, run: Shown) -> None:
        """Take a sample and log it; its step is the run's age in seconds, so that a resumed one goes on."""
        from mlflow.entities import Metric

        now = time.monotonic()
        self._due = now + max(_EVERY_S, _SHARE * (now - self._began))
        if self._monitors is None:
            self._monitors = _monitors()
        when = now_ms()
        step = (when - run.started_ms) // 1000
        metrics = [Metric(f"system/{key}", value, when, step) for key, value in self._sample().items()]
        if metrics:
            client.log_batch(run.run_id, metrics)

    def _sample(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in self._monitors or ():
            with contextlib.suppress(Exception):  # a sensor that is not there is no reason to say anything
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return values


def _monitors() -> list[Any]:
    """MLflow's monitors that work here."""
    found = []
    with contextlib.suppress(ImportError):
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        for monitor in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor):
            with contextlib.suppress(Exception):  # GPUMonitor raises where there is no GPU, each its own kind of error
                found.append(monitor())
    return found
