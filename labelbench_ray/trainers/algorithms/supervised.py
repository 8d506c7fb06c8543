"""No semi-supervised loss: bought labels alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, PseudoLabels, Targets

if TYPE_CHECKING:
    from labelbench_ray.trainers.algorithms.base import State


@dataclass(frozen=True, kw_only=True)
class Supervised(PseudoLabels):
    """The loss on the labels bought, nothing else."""

    name: ClassVar[str] = "supervised"
    uratio: ClassVar[int] = 0
    num_weak_views: ClassVar[int] = 0
    num_strong_views: ClassVar[int] = 0
    ulb_loss_ratio: ClassVar[float] = 0.0  # type: ignore[misc]

    def targets(self, batch: Batch, state: "State") -> Targets:
        """Counts no row."""
        return Targets(batch.logits_UC.argmax(1), batch.logits_UC.new_zeros(len(batch.ids_U)))
