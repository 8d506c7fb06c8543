"""Publish a study's results as a bundle, check somebody's bundle (its files, and by running its trials again), and rank
the strategies of several."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelbench_ray.api import grid
from labelbench_ray.api.executors import ExecutorName
from labelbench_ray.api.planning import DEFAULT_FEATURES
from labelbench_ray.config import Experiment
from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.bundle import (
    EXPERIMENT,
    Rerun,
    check_bundle,
    compare_rerun,
    read_manifest,
    write_bundle,
)
from labelbench_ray.reporting.leaderboard import Leaderboard, read_leaderboard, write_leaderboard
from labelbench_ray.storage.place import Where


@dataclass(frozen=True)
class Verified:
    """What was found of a bundle."""

    manifest: dict[str, Any]
    problems: list[str]
    rerun: Rerun | None

    @property
    def is_fine(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems and not (self.rerun and self.rerun.different)


def publish(results: Where, experiment: Path, bundle: Path, signed_off_by: str) -> dict[str, Any]:
    """Write a bundle of finished results; see ``write_bundle``."""
    return write_bundle(results, experiment, bundle, signed_off_by)


def verify(
    bundle: Path,
    *,
    rerun: Sequence[str] | None = None,
    features: Where = DEFAULT_FEATURES,
    executor: ExecutorName = "ray",
    tell: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Check a bundle's files and rows; with ``rerun``, overrides such as ``seeds=1``, run those of its trials again.

    Raises LedgerError when a trial that was run again failed, or none of them is in the bundle.
    """
    problems = check_bundle(bundle)
    if problems or rerun is None:
        return Verified(read_manifest(bundle), problems, None)
    experiment = Experiment.load(bundle / EXPERIMENT, [*rerun, "tracking.mlflow=off"])
    with tempfile.TemporaryDirectory(prefix="labelbench-rerun-") as folder:
        outcome = grid.run(experiment, folder, features, executor=executor, tell=tell)
        if outcome.failed:
            name, error = outcome.failed[0]
            raise LedgerError(str(bundle), f"{name} failed when it was run again ({error})", "mend that first")
        return Verified(read_manifest(bundle), [], compare_rerun(bundle, folder))


def leaderboard(bundles: Sequence[Path], out: Path | None = None) -> Leaderboard:
    """The strategies of bundles by benchmark, written to ``out`` too; see ``read_leaderboard`` for what is refused."""
    board = read_leaderboard(bundles)
    if out:
        write_leaderboard(board, out)
    return board
