"""Runs training work in this process, for one worker. Ray Train's launcher is ``execution/on_ray/training.py``."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labelbench_ray.errors import TrainingError
from labelbench_ray.types import TrainContext


@dataclass
class InlineContext:
    """The only worker, in this process. Its checkpoints lie in ``folder``, of which the last one is kept."""

    folder: Path
    device: str = "cpu"
    rank: int = 0
    world_size: int = 1

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        """Keep the checkpoint: copied under a temporary name, renamed, and only then is the last one deleted."""
        if checkpoint is None:
            return
        earlier = self._complete()
        number = int(earlier[-1].name) + 1 if earlier else 0
        draft = self.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(checkpoint, draft)
        draft.rename(self.folder / f"{number:06d}")
        for old in earlier:
            shutil.rmtree(old)

    def checkpoint(self) -> Path | None:
        """The last complete checkpoint."""
        complete = self._complete()
        return complete[-1] if complete else None

    def _complete(self) -> list[Path]:
        return sorted(entry for entry in self.folder.glob("[0-9]*") if entry.is_dir())


def launch_inline(
    work: Callable[[TrainContext, Any], None],
    arguments: Any,
    *,
    num_workers: int,
    through: Literal["inline", "ray_train"],
    work_dir: Path,
) -> None:
    """Run the work here, on the device that ``arguments.device`` names. Satisfies ``types.Launch``.

    ``through: ray_train`` with one worker runs here too: it changes no number, and there may be no Ray. Raises
    TrainingError for more workers than one.
    """
    if num_workers > 1:
        raise TrainingError(
            arguments.name,
            f"{num_workers} workers cannot run inside one process",
            "set `through: ray_train` and run on Ray",
        )
    work(InlineContext(work_dir / "checkpoints", device=arguments.device), arguments)
