"""Starting and stopping Ray, quietly, and with nothing left running."""

import contextlib
import socket
import warnings
from collections.abc import Iterator, Mapping

import ray

from labelbench_ray.errors import PlatformError


@contextlib.contextmanager
def session(address: str | None = None, num_cpus: int | None = None) -> Iterator[None]:
    """Ray, for the length of a block; a cluster that was there before is left running.

    Raises PlatformError when the address does not answer.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_answers(address)
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
    except Exception as error:  # a plain Exception where Ray's own processes are slow to start
        raise _no_ray(address, " ".join(str(error).split())[:200]) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes. ``auto`` and ``ray://`` addresses are left to it."""
    host, sign, port = address.rpartition(":")
    if "://" in address or not sign or not port.isdigit():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0):
            return
    except OSError as error:
        raise _no_ray(address, error.strerror or str(error)) from None


def _no_ray(address: str | None, reason: str) -> PlatformError:
    if address is None:
        return PlatformError(f"Ray cannot be started here ({reason})", "run `labelbench doctor`")
    return PlatformError(f"Ray cannot be reached at {address} ({reason})", "check --address and `ray status`")


def nodes() -> list[Mapping[str, float]]:
    """Resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
