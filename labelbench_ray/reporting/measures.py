"""What a (split, metric) is called, which way is better, and how its numbers are written."""

import math
from dataclasses import dataclass

from labelbench_ray.identity import digest

SCORED_SPLITS = ("test", "val", "pool")
"""Splits that measure the model, in the order in which a reader wants them."""

METRIC_ORDER = (
    "accuracy", "mean_ap", "balanced_accuracy", "macro_f1", "micro_f1", "worst_class_accuracy", "worst_class_ap",
    "label_accuracy", "subset_accuracy", "ece", "log_loss",
)  # fmt: skip
"""The one that ranks models first: accuracy, in multi-label tasks mean average precision."""

_NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mean_ap": "mAP",
    "worst_class_ap": "worst-class AP",
    "worst_class_accuracy": "worst-class accuracy",
    "ece": "calibration error (ECE)",
    "log_loss": "log loss",
}
_SPLIT_NAMES = {"test": "Test", "val": "Validation", "pool": "Pool"}
_LOWER_IS_BETTER = ("ece", "loss", "error", "unknown_answers")
_FRACTION_ENDINGS = ("accuracy", "f1", "ece", "precision", "recall", "_ap", "error")
_MINUS = "\N{MINUS SIGN}"
ABSENT = "\N{EN DASH}"
_MOST_SIGNS = 100
"""Of a name as it is shown: parameters make names long, and a file's name may be anything."""


@dataclass(frozen=True, order=True)
class Measure:
    """One metric on one split."""

    split: str
    metric: str

    @property
    def name(self) -> str:
        """The metric in words: ``balanced accuracy``."""
        plain = self.metric.removeprefix("annotation_")
        name = _NAMES.get(plain, plain.replace("_", " "))
        return f"annotation {name}" if plain != self.metric else name

    @property
    def title(self) -> str:
        """Split and metric in words: ``Test balanced accuracy``."""
        return f"{_SPLIT_NAMES.get(self.split, self.split)} {self.name}"

    @property
    def in_words(self) -> str:
        """The title within a sentence: ``test macro F1``."""
        return self.title[0].lower() + self.title[1:]

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller number is the better one."""
        return self.metric.endswith(_LOWER_IS_BETTER)

    @property
    def is_fraction(self) -> bool:
        """Whether it is shown in percent, and its differences in percentage points."""
        return self.metric.endswith(_FRACTION_ENDINGS)

    @property
    def scale(self) -> float:
        """Shown number per stored number."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def unit(self) -> str:
        """Percent sign, or nothing."""
        return "%" if self.is_fraction else ""

    @property
    def _decimals(self) -> int:
        return 2 if self.is_fraction else 3

    def sort_key(self) -> tuple[int, bool, int, str]:
        """Test before validation before pool; the usual metrics first, annotation ones last."""
        plain = self.metric.removeprefix("annotation_")
        split = SCORED_SPLITS.index(self.split) if self.split in SCORED_SPLITS else len(SCORED_SPLITS)
        rank = METRIC_ORDER.index(plain) if plain in METRIC_ORDER else len(METRIC_ORDER)
        return split, plain != self.metric, rank, self.metric

    def write(self, value: float) -> str:
        """``84.32`` for 0.8432 of a fraction, ``0.512`` for a loss."""
        return written(value * self.scale, self._decimals)

    def write_signed(self, value: float) -> str:
        """``+1.80`` for a difference of 0.018."""
        return signed(value * self.scale, self._decimals)

    def write_with_error(self, mean: float, standard_error: float) -> str:
        """``84.32 ± 0.21``; the mean alone where no error is known."""
        return self.write(mean) if math.isnan(standard_error) else f"{self.write(mean)} ± {self.write(standard_error)}"

    def write_difference(self, mean: float, low: float, high: float) -> str:
        """``+1.80 [+1.20, +2.40]``; the difference alone where no interval is known."""
        mean_text, low_text, high_text = (self.write_signed(value) for value in (mean, low, high))
        return mean_text if math.isnan(low) else f"{mean_text} [{low_text}, {high_text}]"


def written(value: float, decimals: int) -> str:
    """Fixed decimals, thousands separated, a true minus sign; a dash for what is not known."""
    return f"{value:,.{decimals}f}".replace("-", _MINUS) if math.isfinite(value) else ABSENT


def signed(value: float, decimals: int) -> str:
    """As ``written``, with a plus sign."""
    return f"{value:+,.{decimals}f}".replace("-", _MINUS) if math.isfinite(value) else ABSENT


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 seed``, ``1,200 seeds``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def one_line(text: str) -> str:
    """Text without line breaks, and without signs that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))


def readable(name: str) -> str:
    """A name for tables, figures and sentences: a long or odd one cut to one line, told apart by a digest."""
    line = one_line(name)
    if name == line and len(name) <= _MOST_SIGNS:
        return name
    return f"{line[: _MOST_SIGNS - 10]}… #{digest(name, length=6)}"
