"""Modules of experiments/, for tests that use them beside those that test them."""

import importlib
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def part(name, folder="benchmarks"):
    if str(EXPERIMENTS / folder) not in sys.path:
        sys.path.append(str(EXPERIMENTS / folder))
    return importlib.import_module(name)
