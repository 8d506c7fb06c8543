"""MLflow's pages over a results folder: one server process, ended with the command that started it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from labelbench_ray.benchmark.finding import check_results
from labelbench_ray.config.parts import check_tracking_address
from labelbench_ray.errors import PlatformError
from labelbench_ray.storage.place import IN_CLOUD, place_at
from labelbench_ray.tracking import mlflow as view_of_ledger
from labelbench_ray.tracking.connection import address, default_artifact_location, default_uri
from labelbench_ray.tracking.view import VIEW_KEY

START_S = 90.0
"""Seconds the server may take to answer (5.5 s on an idle machine)."""

_STOP_S = 10.0
_TRAINING = "workflowType=machine_learning"
_BY_NAME = "orderByKey=tags.%60mlflow.runName%60&orderByAsc=true"


def serve_ui(
    where: str | Path,
    *,
    experiment: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    say: Callable[[str], None] = print,
) -> None:
    """Show a results folder or a tracking address until Ctrl-C; ``say`` gets its links.

    A server that runs already (http, https) is only linked to. Raises PlatformError when there is nothing to show or
    the port is taken, TrackingError when the database cannot be read.
    """
    uri = tracking_uri(where)
    place = view_of_ledger.find_place(uri, experiment)
    if uri.startswith(("http://", "https://")):
        _say_links(address(uri), place, say)
        return
    with running_server(uri, host, port) as (base, server):
        _say_links(base, place, say)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


def _say_links(base: str, place: view_of_ledger.Place | None, say: Callable[[str], None]) -> None:
    say(f"runs    {runs_page(base, place)}")
    if place and place.report_run_id:
        say(f"report  {report_page(base, place.experiment_id, place.report_run_id)}")


def tracking_uri(where: str | Path) -> str:
    """The address itself, or that of the database in a results folder.

    Raises PlatformError where there is none, SpecError for an address and NoResultsError for a folder of another kind.
    """
    if isinstance(where, str) and "://" in where and not where.startswith(IN_CLOUD):
        return check_tracking_address("labelbench ui", where)
    results = place_at(where)
    if not (results.scratch / "mlflow.db").exists():
        check_results(results)
        told = f"no MLflow database in {results.scratch}"
        raise PlatformError(told, "run `labelbench sync` to make it from the results")
    return default_uri(results)


def runs_page(base: str, place: view_of_ledger.Place | None) -> str:
    """Link to the learning curves of an experiment, or to all experiments.

    ``workflowType``: without it MLflow opens in its GenAI mode. Without a stored view runs are sorted by name, because
    sorted by date all trials are hidden in one closed row.
    """
    if place is None:
        return f"{base.rstrip('/')}/#/experiments?{_TRAINING}"
    shown = (
        f"viewStateShareKey={VIEW_KEY}" if place.has_view else "orderByKey=tags.%60mlflow.runName%60&orderByAsc=true"
    )
    return f"{base.rstrip('/')}/#/experiments/{place.experiment_id}/runs?{_TRAINING}&{shown}&compareRunsMode=CHART"


def report_page(base: str, experiment_id: str, run_id: str) -> str:
    """Link to the report in its frame."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html?{_TRAINING}"


def ui_command(uri: str, host: str, port: int) -> list[str]:
    """The command that serves a database. One worker: more cost 0.5 GB each and serve nobody."""
    artifacts = default_artifact_location(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", host]
    command += ["--port", str(port), "--workers", "1"]
    return command + (["--default-artifact-root", artifacts] if artifacts else [])


@contextlib.contextmanager
def running_server(uri: str, host: str, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that answers, as (address, process); ended with all its workers on the way out, also by SIGTERM."""
    _check_port(host, port)
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile() as log, _sigterm_as_interrupt():
        # A session of its own: Ctrl-C reaches us alone, and the whole group can be ended.
        server = subprocess.Popen(
            ui_command(uri, host, port), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            base = f"http://{_shown(host)}:{port}"
            _wait_until_up(base, server, log)
            yield base, server
        finally:
            _end(server)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a closing one is no hindrance
        try:
            probe.bind((host, port))
        except OSError as error:
            told = f"port {port} of {host} cannot be used ({error.strerror})"
            raise PlatformError(told, "stop what uses it or choose another with --port") from None


def _shown(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _wait_until_up(base: str, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(base):
        if server.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise PlatformError(f"the MLflow server did not start: {lines[-1]}", "run `labelbench doctor`")
        time.sleep(0.1)


def _answers(base: str) -> bool:
    no_proxy = urllib.request.ProxyHandler({})  # the server is on this machine
    try:
        with urllib.request.build_opener(no_proxy).open(f"{base}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_STOP_S)
            return


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A terminated command must not leave its server behind. Only the main thread may set this."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
