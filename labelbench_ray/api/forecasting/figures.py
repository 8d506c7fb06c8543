"""How long a round will take, from rounds that were measured. What was never measured is unknown, not guessed.

A measured round counts for a planned one on the same kind of device when these are equal:

- training: data set (so its size), encoder and trainer. With as many labels the figure is *measured*; else it is
  *scaled* from the nearest number of labels: by the number of steps, which follows from the trainer's fields, or by the
  labels themselves for ``optimizer: lbfgs``, which looks at all of them in each step.
- measuring: data set, encoder and trainer. It reads every row of every split, however many labels there are.
- selection: those, the strategy, and the labels that a round buys. The nearest number of labels counts.

Labels (a name and the parameters that differ from their defaults) tell encoders, trainers and strategies apart. Of
several equal rounds the median counts. Exact figures go before scaled ones; then this results folder before others,
others in the order in which they are named, and what a calibration measured comes last.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labelbench_ray.benchmark.history import MeasuredRound
from labelbench_ray.trainers.batches import num_steps

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Figure:
    """Seconds, and where they come from: how many figures of which origin are in the sum."""

    seconds: float = 0.0
    origins: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Figure") -> "Figure":
        names = [*self.origins, *(name for name in other.origins if name not in self.origins)]
        origins = {name: self.origins.get(name, 0) + other.origins.get(name, 0) for name in names}
        return Figure(self.seconds + other.seconds, origins)

    def times(self, count: int) -> "Figure":
        """So many of it."""
        return Figure(self.seconds * count, {name: number * count for name, number in self.origins.items()})

    @property
    def complete(self) -> bool:
        """Whether nothing in it is unknown; else its seconds are the known part of a larger sum."""
        return UNKNOWN not in self.origins

    @property
    def known(self) -> bool:
        """Whether anything in it is known."""
        return any(name != UNKNOWN for name in self.origins)


NOT_KNOWN = Figure(0.0, {UNKNOWN: 1})


def total(figures: Iterable[Figure]) -> Figure:
    """Their sum."""
    return sum(figures, Figure())


class RoundKey(NamedTuple):
    """What a planned round is a round of."""

    dataset: str
    encoder: str
    model: str
    strategy: str
    num_labeled: int
    labels_to_buy: int | None
    """None in the last round, which selects nothing, and in evaluations."""


@dataclass(frozen=True)
class RoundFigures:
    """The stages of one round."""

    train: Figure
    evaluate: Figure
    select: Figure

    @property
    def all(self) -> Figure:
        """The whole round."""
        return self.train + self.evaluate + self.select


@dataclass(frozen=True)
class Source:
    """Measured rounds and where they were found: ``here``, ``in DIR`` or ``by calibration``."""

    where: str
    rounds: Sequence[MeasuredRound]


class History:
    """Looks up what rounds will take. Asked for equal rounds again and again, it answers from memory."""

    def __init__(self, sources: Sequence[Source], device: str) -> None:
        kept = [Source(one.where, [each for each in one.rounds if each.device == device]) for one in sources]
        self.sources = [one for one in kept if one.rounds]
        self._by_model = [(one.where, _by_model(one.rounds)) for one in self.sources]
        self._answers: dict[RoundKey, RoundFigures] = {}

    def round(self, key: RoundKey, trainer: Any) -> RoundFigures:
        """Figures of a round of this trainer."""
        if key not in self._answers:
            self._answers[key] = RoundFigures(self._train(key, trainer), self._evaluate(key), self._select(key))
        return self._answers[key]

    def _train(self, key: RoundKey, trainer: Any) -> Figure:
        for where, rounds in self._of_model(key):
            exact = [one.train_s for one in rounds if one.num_labeled == key.num_labeled]
            if exact:
                return _measured(where, exact)
        scale = _work(trainer, key.num_labeled)
        for where, rounds in self._of_model(key):
            if scale is not None:
                shares = [one.train_s * scale / _work_done(one, trainer) for one in _nearest(rounds, key.num_labeled)]
                return Figure(statistics.median(shares), {f"scaled from one measured {where}": 1})
        return NOT_KNOWN

    def _evaluate(self, key: RoundKey) -> Figure:
        for where, rounds in self._of_model(key):
            return _measured(where, [one.evaluate_s for one in _nearest(rounds, key.num_labeled)])
        return NOT_KNOWN

    def _select(self, key: RoundKey) -> Figure:
        if key.labels_to_buy is None:
            return Figure()
        for where, rounds in self._of_model(key):
            alike = [one for one in rounds if (one.strategy, one.labels_bought) == (key.strategy, key.labels_to_buy)]
            seconds = [one.select_s for one in _nearest(alike, key.num_labeled) if one.select_s is not None]
            if seconds:
                return _measured(where, seconds)
        return NOT_KNOWN

    def _of_model(self, key: RoundKey) -> Iterator[tuple[str, Sequence[MeasuredRound]]]:
        """Rounds of the same data set, encoder and model, by the source that has any."""
        for where, by_model in self._by_model:
            if rounds := by_model.get((key.dataset, key.encoder, key.model)):
                yield where, rounds


def _by_model(rounds: Iterable[MeasuredRound]) -> dict[tuple[str, str, str], list[MeasuredRound]]:
    found: dict[tuple[str, str, str], list[MeasuredRound]] = {}
    for one in rounds:
        found.setdefault((one.dataset, one.encoder, one.model), []).append(one)
    return found


def _measured(where: str, seconds: Sequence[float]) -> Figure:
    return Figure(statistics.median(seconds), {f"measured {where}": 1})


def _nearest(rounds: Sequence[MeasuredRound], num_labeled: int) -> list[MeasuredRound]:
    """Those whose number of labels is nearest by its ratio; of two as near, the larger."""
    ratio = {one.num_labeled: max(one.num_labeled, num_labeled) / min(one.num_labeled, num_labeled) for one in rounds}
    chosen = min(ratio, key=lambda labels: (ratio[labels], -labels), default=None)
    return [one for one in rounds if one.num_labeled == chosen]


def _work(trainer: Any, num_labeled: int) -> float | None:
    """What training takes in proportion to: steps, or labels where each step looks at all; None where unknown."""
    if getattr(trainer, "optimizer", None) == "lbfgs":
        return float(num_labeled)
    if not all(hasattr(trainer, name) for name in ("train_batch_size", "epochs", "min_steps")):
        return None
    per_pass = num_labeled // min(trainer.train_batch_size, num_labeled)
    return float(num_steps(per_pass, trainer.epochs or 0, trainer.min_steps))


def _work_done(one: MeasuredRound, trainer: Any) -> float:
    """The same of a measured round: the steps it took where it tells them, which early stopping may have cut short."""
    planned = _work(trainer, one.num_labeled)
    assert planned is not None
    by_steps = getattr(trainer, "optimizer", None) != "lbfgs"
    return one.steps if by_steps and one.steps else planned
