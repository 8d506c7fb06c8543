"""What the benchmarks' command lines share: one thread for each library, and how a command is shown in a report."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


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
