"""What every Ray process of a run must see in its environment."""

import os

# Read by every process of a local cluster, so they are set before it starts.
QUIET = {
    "RAY_AUTH_MODE": "disabled",  # on by default for local clusters; then driver, workers and `ray start` must agree
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group ends 2-4 s sooner
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "900",  # until an autoscaler has added a node with GPUs
    "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "300",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: finish, write, say so
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def set_environment() -> None:
    """Set what every Ray process must see, leaving alone what the user set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
