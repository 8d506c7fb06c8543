"""What each metric means: for reports, for ``labelbench list metric`` and ``labelbench show metric``."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MetricCard:
    """What a reader of a number must know of it."""

    name: str
    title: str
    better: Literal["higher", "lower"]
    unit: str
    needs_probabilities: bool = False
    """Whether labels alone do not give it; such a metric is missing where there are only labels."""
    definition: str
    source: str

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is a better one."""
        return self.better == "higher"


_PAPER = "Zhang et al., 2023, LabelBench, appendix D"

METRICS: dict[str, MetricCard] = {
    card.name: card
    for card in (
        MetricCard(
            name="accuracy",
            title="Accuracy",
            better="higher",
            unit="fraction",
            definition="share of examples whose predicted class is the true one; ties go to the lowest class",
            source=_PAPER,
        ),
        MetricCard(
            name="balanced_accuracy",
            title="Balanced accuracy",
            better="higher",
            unit="fraction",
            definition="mean over the C classes of the share of a class's examples predicted as it; 0 if absent",
            source=_PAPER,
        ),
        MetricCard(
            name="macro_f1",
            title="Macro F1",
            better="higher",
            unit="fraction",
            definition="mean over the C classes of 2 TP / (2 TP + FP + FN); 0 if neither present nor predicted",
            source=_PAPER,
        ),
        MetricCard(
            name="worst_class_accuracy",
            title="Worst class accuracy",
            better="higher",
            unit="fraction",
            definition="smallest over the C classes of the share of a class's examples predicted as it; 0 if absent",
            source="LabelBench's published results, `Min Class ... Accuracy`",
        ),
        MetricCard(
            name="ece",
            title="Expected calibration error",
            better="lower",
            unit="fraction",
            needs_probabilities=True,
            definition="15 equal bins of the largest probability p: sum over bins of (rows / N) |accuracy - mean p|",
            source="Guo et al., 2017, On Calibration of Modern Neural Networks, eq. 3",
        ),
        MetricCard(
            name="log_loss",
            title="Log loss",
            better="lower",
            unit="nats",
            needs_probabilities=True,
            definition="mean of -log of the true class's probability, which counts as at least 2**-23",
            source="scikit-learn `log_loss`",
        ),
    )
}
"""By name, in the order they are shown."""
