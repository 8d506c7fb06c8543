"""Fixtures of the command line's tests."""

import pytest

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
