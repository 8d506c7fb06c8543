"""MLflow as a view of the ledger: the only package that imports mlflow.

One experiment per study; in it one parent run (found by its tag ``labelbench.grid``) and one child run per trial (found
by its tag ``labelbench.trial``). What MLflow has is asked once and then remembered, until anything goes wrong; so a
half-written, deleted or wiped view is completed by the same code that writes it live.
"""

from labelbench_ray.tracking.mlflow.server import Place, connect, create_database, find_place, talking_to
from labelbench_ray.tracking.mlflow.tracker import MlflowTracker

__all__ = ["MlflowTracker", "Place", "connect", "create_database", "find_place", "talking_to"]
