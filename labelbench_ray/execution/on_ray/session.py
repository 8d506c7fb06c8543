"""Starting and stopping Ray, quietly, and with nothing left running."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping

import ray

from labelbench_ray.errors import PlatformError

# Read by every process of a local cluster, so they are set before it starts.
QUIET = {
    "RAY_AUTH_MODE": "disabled",  # on by default for local clusters; then driver, workers and `ray start` must agree
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group ends 2-4 s sooner
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "300",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: finish, write, say so
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "PYTHONDONTWRITEBYTECODE": "",
}


def set_environment() -> None:
    """Set what every Ray process must see, leaving alone what the user set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextlib.contextmanager
def session(address: str | None = None, num_cpus: int | None = None) -> Iterator[None]:
    """Ray, for the length of a block; a cluster that was there before is left running.

    Raises PlatformError when the address does not answer.
    """
    if ray.is_initialized():
        yield
        return
    set_environment()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address=address or "local",
                num_cpus=num_cpus if address is None else None,
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level="error",
                configure_logging=True,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PlatformError(
            f"Ray cannot be reached at {address or 'local'} ({reason})", "check --address and `ray status`"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Mapping[str, float]]:
    """Resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
