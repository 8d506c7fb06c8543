"""Fixtures every test may use."""

import os
import signal
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in the background ignores Ctrl-C, and so would the tests of it, here and in what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data, published numbers and golden outputs (environment variable LABELBENCH_TEST_DATA)."""
    folder = Path(os.environ.get("LABELBENCH_TEST_DATA", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set LABELBENCH_TEST_DATA to a folder that has it")
    return folder
