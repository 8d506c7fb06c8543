"""A local server that speaks S3's language, and object stores that fail when a test says so."""

import contextlib
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}

SEEN: Counter[tuple[str, str]] = Counter()
"""What the servers of this process were asked, whoever asked: (verb, ``/bucket/name``)."""


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server with no bucket in it."""
    server = pytest.importorskip("moto.server", reason="no S3 server: install moto")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    running._server.app = _counted(running._server.app)
    try:
        yield "http://{}:{}".format(*running.get_host_and_port())
    finally:
        running.stop()


def _counted(app: Any) -> Any:
    def answer(told: dict[str, Any], respond: Any) -> Any:
        SEEN[told["REQUEST_METHOD"], told["PATH_INFO"]] += 1
        return app(told, respond)

    return answer


def shards_sent(bucket: str) -> dict[str, int]:
    """How often each shard of features in a bucket was asked for, by name of the file."""
    mine = f"/{bucket.removeprefix('s3://')}/"
    asked = [(path, count) for (verb, path), count in SEEN.items() if verb == "GET" and path.startswith(mine)]
    return {path.removeprefix(mine): count for path, count in asked if path.endswith(".npy")}


def new_bucket(server: str) -> str:
    """``s3://...`` of a bucket that nobody else uses."""
    name = f"bucket-{secrets.token_hex(6)}"
    urlopen(Request(f"{server}/{name}", method="PUT")).close()
    return f"s3://{name}"


@contextlib.contextmanager
def environment(**told: str) -> Iterator[None]:
    """Variables of this process and of those that it starts."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class Flaky:
    """Stands before the store of a bucket: counts requests, and lets those fail that ``fails`` picks."""

    def __init__(self, store: Any, fails: Callable[[str, str, int], bool] = lambda verb, name, nth: False) -> None:
        self._store = store
        self._fails = fails
        self.requests: Counter[str] = Counter()

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._store, verb)

        def request(name: str, *words: Any, **more: Any) -> Any:
            self.requests[verb] += 1
            if self._fails(verb, name, self.requests[verb]):
                from obstore.exceptions import GenericError

                raise GenericError("the store does not answer")
            return real(name, *words, **more)

        return request
