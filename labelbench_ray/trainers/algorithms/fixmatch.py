"""FixMatch (Sohn et al., 2020): confident classes of the weak view train the strong one."""

from dataclasses import dataclass
from typing import ClassVar

from labelbench_ray.trainers.algorithms.base import Batch, State, StrongViews, Targets, certainty, check_cutoff


@dataclass(frozen=True, kw_only=True)
class FixMatch(StrongViews):
    """The strong view is trained on the weak view's most likely class where ``max q >= p_cutoff`` (equation 4).

    As in the paper and in USB, but for the share of unlabelled rows: ``uratio`` is 7 there.
    """

    name: ClassVar[str] = "fixmatch"

    p_cutoff: float = 0.95

    def check(self, where: str) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check(where)
        check_cutoff(where, self.p_cutoff)

    def targets(self, batch: Batch, state: State) -> Targets:
        """Classes of the rows at or above the threshold."""
        certainty_U, labels_U = certainty(batch.logits_UC)
        return Targets(labels_U, (certainty_U >= self.p_cutoff).float())
