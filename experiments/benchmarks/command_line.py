"""What the benchmarks' command lines share: errors in one line, one thread for each library, how to show a command."""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")

USAGE_ERROR, INTERRUPTED = 2, 130


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with that line."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (--help lists all flags)\n")


def count(told: str) -> int:
    """A whole number of 1 or more, for a flag."""
    if not told.isdigit() or int(told) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {told}")
    return int(told)


def prepare_processes(preload: Sequence[str]) -> None:
    """Measuring processes use one thread, and copy a process that has loaded these modules and nothing else."""
    from measure import PROCESSES

    os.environ.update({f"{library}_NUM_THREADS": "1" for library in LIBRARIES})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.getenv("PYTHONPATH")])])
    PROCESSES.set_forkserver_preload(list(preload))


def command(script: str, arguments: Sequence[str]) -> str:
    """The command line without the places of one machine."""
    shown = [Path(word).name if os.sep in word else shlex.quote(word) for word in arguments]
    return " ".join([f"python experiments/benchmarks/{script}", *shown])
