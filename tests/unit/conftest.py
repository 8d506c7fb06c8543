"""Fixtures of the command line's tests."""

import pytest
from object_store import CREDENTIALS, environment, new_bucket, s3_server

from labelbench_ray.cli import main


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Commands run in a folder of their own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys):
    """A command by its words; its exit code, what it printed, and what it told."""

    def run_it(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run_it


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The address of a server, for this process and those that it starts."""
    with s3_server() as address:
        copies = str(tmp_path_factory.mktemp("copies"))
        with environment(AWS_ENDPOINT_URL=address, LABELBENCH_COPIES=copies, **CREDENTIALS):
            yield address


@pytest.fixture
def bucket(store):
    return new_bucket(store)
