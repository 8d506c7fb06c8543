"""Numbers for Prometheus through Ray: each node's agent exposes what the processes on it recorded."""

from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge

from labelbench_ray.execution.metrics import METRICS, Metric


class RayEmitter:
    """Records the metrics of one experiment in this process. Ray must be running."""

    def __init__(self, experiment: str, metrics: Sequence[Metric] = METRICS) -> None:
        kinds = {"counter": Counter, "gauge": Gauge}
        self._made = {
            metric.name: kinds[metric.kind](
                metric.name, description=metric.told, tag_keys=("experiment", *metric.labels)
            ).set_default_tags({"experiment": experiment})
            for metric in metrics
        }

    def add(self, metric: Metric, amount: float, **labels: str) -> None:
        """Let a counter grow. Ray refuses to add nothing."""
        if amount > 0:
            self._made[metric.name].inc(amount, tags=labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._made[metric.name].set(value, tags=labels)
