"""Reaching MLflow: a client, a database that is there whole, a search, errors in our words."""

import contextlib
import fcntl
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labelbench_ray.errors import TrackingError
from labelbench_ray.tracking import view
from labelbench_ray.tracking.connection import address, impatient, quiet, reason, sqlite_path


class Place(NamedTuple):
    """What links to an experiment's pages are made of."""

    experiment_id: str
    has_view: bool
    report_run_id: str | None


def load() -> None:
    """Import what of MLflow is used anywhere in this package, so that no import is left for later."""
    with impatient():
        import mlflow.entities
        import mlflow.models
        import mlflow.store.artifact.artifact_repository_registry
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.tracking
        import mlflow.types

        with contextlib.suppress(ImportError):
            import mlflow.system_metrics.system_metrics_monitor  # noqa: F401


@contextlib.contextmanager
def talking_to(uri: str) -> Iterator[None]:
    """Quiet and impatient while we talk to MLflow; what goes wrong is a TrackingError without credentials."""
    with impatient():
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        with quiet():
            try:
                yield
            except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
                raise TrackingError(address(uri), reason(error, uri)) from error


def connect(uri: str) -> Any:
    """An MLflow client. A new SQLite database is made first."""
    from mlflow import MlflowClient

    if path := sqlite_path(uri):
        create_database(path)
    return MlflowClient(tracking_uri=uri)


def create_database(path: Path) -> None:
    """Make the database once: under a lock, in a draft that is renamed when whole.

    Two processes that open the same empty file spoil it for good, and so does a kill in the middle.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        for left in path.parent.glob(f".{path.name}.*draft*"):  # by a kill, or a full disk
            left.unlink()
        # A new name each time: MLflow keeps its connection to a name, also where the file behind it could not be made.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
        _initialize(f"sqlite:///{draft}", path.parent / "mlflow-artifacts")
        draft.replace(path)


def _initialize(uri: str, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts.as_uri()).engine.dispose()


def which_database(uri: str) -> int | None:
    """What changes when a SQLite file is put in place of another (its inode); None for servers, or no file."""
    path = sqlite_path(uri)
    return path.stat().st_ino if path and path.exists() else None


def engine_of(uri: str) -> Any:
    """MLflow's connections to a SQLite file; None for other addresses, or before the first of them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore._engine_map.get(uri) if sqlite_path(uri) else None


def forget_connections(uri: str) -> None:
    """MLflow keeps connections, also to a file that was deleted: into that one it would write on."""
    if engine := engine_of(uri):
        engine.dispose()


def search(client: Any, experiment_id: str, tags: Mapping[str, str]) -> list[Any]:
    """Runs that have these tags, oldest first."""
    wanted = " and ".join(f"tags.`{key}` = '{_quoted(value)}'" for key, value in tags.items())
    order = ["attributes.start_time ASC"]
    page = client.search_runs([experiment_id], wanted, order_by=order)
    found = list(page)
    while page.token:
        page = client.search_runs([experiment_id], wanted, order_by=order, page_token=page.token)
        found.extend(page)
    return found


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def find_place(uri: str, experiment: str | None = None) -> Place | None:
    """Where an experiment's pages are; of the one that changed last where no name is given. Raises TrackingError."""
    with talking_to(uri):
        client = connect(uri)
        if experiment is None:
            newest = client.search_experiments(max_results=1, order_by=["last_update_time DESC"])
            found = newest[0] if newest else None
        else:
            found = client.get_experiment_by_name(experiment)
        if found is None:
            return None
        parents = search(client, found.experiment_id, {"labelbench.grid": found.name})
        files = {file.path for file in client.list_artifacts(parents[0].info.run_id)} if parents else set()
        report = parents[0].info.run_id if "report.html" in files else None
        return Place(str(found.experiment_id), view.VIEW_TAG in found.tags, report)
