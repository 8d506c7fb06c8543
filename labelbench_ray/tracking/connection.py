"""How we speak to MLflow: where it is, how long we wait, and what of its errors a user sees. Imports no mlflow."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from labelbench_ray.storage.place import Where, place_at

TIMEOUT_S = 10
"""Seconds an HTTP server may take for one answer."""

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a POST retried after a lost answer logs twice; we ask, then try again
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for data
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def default_uri(results: Where) -> str:
    """The database beside a ledger, used where no server is named; its artifacts lie in ``mlflow-artifacts``.

    A database cannot lie in an object store: for results there, it is one of this machine.
    """
    return f"sqlite:///{place_at(results).scratch.resolve() / 'mlflow.db'}"


def default_artifact_location(uri: str) -> str | None:
    """Beside a SQLite database, not in the working directory as MLflow has it; elsewhere the server decides."""
    path = sqlite_path(uri)
    return (path.parent / "mlflow-artifacts").as_uri() if path else None


def sqlite_path(uri: str) -> Path | None:
    """The file of a database, None for a server, a database in memory or SQLite's own ``file:`` form."""
    name = uri.removeprefix("sqlite:///")
    plain = uri.startswith("sqlite:///") and not name.startswith(("file:", ":memory:"))
    return Path(name.partition("?")[0]).resolve() if plain else None


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Short waits, no retries and no talk of MLflow's own, where the user has not chosen otherwise."""
    added = {key for key in _ENVIRONMENT if key not in os.environ}
    os.environ.update({key: _ENVIRONMENT[key] for key in added})
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Errors become one line of ours: no traces from MLflow, no migration notes from alembic."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def address(uri: str) -> str:
    """A tracking address as it may be shown: no user, no password, no query.

    >>> address("https://ann:secret@tracking.example.org:5000/?token=x")
    'https://tracking.example.org:5000/'
    """
    parts = urlsplit(uri)
    if not parts.hostname:
        return uri.partition("?")[0]
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def reason(error: BaseException, uri: str) -> str:
    """The part of MLflow's long messages a user can act on, without credentials."""
    text = str(error)
    if refused := re.search(r"\[Errno -?\d+\] ([\w ,]+)", text):
        return refused.group(1).strip()
    if failing := re.search(r"too many (5\d\d) error responses", text):
        return f"the server answers {failing.group(1)}"
    if "timed out" in text.lower():
        return f"no answer within {TIMEOUT_S} s"
    login = urlsplit(uri).netloc.rpartition("@")[0]
    first_line = (text.strip() or type(error).__name__).splitlines()[0]
    return (first_line.replace(f"{login}@", "") if login else first_line)[:200]
