"""No semi-supervised loss: bought labels alone."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, Defaults, State, Targets


@dataclass(frozen=True, kw_only=True)
class Supervised(Defaults):
    """The loss on the labels bought, nothing else."""

    name: ClassVar[str] = "supervised"
    uratio: ClassVar[int] = 0
    num_weak_views: ClassVar[int] = 0
    num_strong_views: ClassVar[int] = 0

    def unlabeled_weight(self, step: int, steps: int) -> float:
        """None."""
        return 0.0

    def targets(self, batch: Batch, state: State) -> Targets:
        """Counts no row."""
        return Targets(batch.logits_UC.argmax(1), batch.logits_UC.new_zeros(len(batch.ids_U)))
