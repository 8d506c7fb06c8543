"""Modules of experiments/benchmarks, for tests that use them beside those that test them."""

import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks"


def part(name):
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)
