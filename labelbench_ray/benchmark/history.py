"""What rounds cost: read from the trials of a results folder, to say what others will cost.

A grid repeats itself: trials that differ in nothing but the seed take as long as each other. So a few of each are read,
and a folder of a thousand trials is looked through in about a second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labelbench_ray.benchmark.finding import check_results
from labelbench_ray.benchmark.results import COST
from labelbench_ray.benchmark.state import MODEL, Ledger, TrialLedger
from labelbench_ray.identity import digest
from labelbench_ray.storage.place import Place, Where

MOST_ALIKE = {"selection": 3, "evaluation": 30}
"""Trials of one point of a grid that are read. Evaluations of a point differ in their number of labels: hence more."""

PROCESSORS = ("x86_64", "aarch64", "arm64", "AMD64", "ppc64le", "riscv64")


@dataclass(frozen=True, kw_only=True)
class MeasuredRound:
    """What one finished round took, and of what it was a round."""

    dataset: str
    """Digest of the data set's identity: equal for equal data, so also of equal size."""
    encoder: str
    """Label, as ``model`` and ``strategy``: a name and the parameters that differ from their defaults."""
    model: str
    """The trainer of this round."""
    strategy: str
    device: str
    """``cpu`` or ``cuda``."""
    num_labeled: int
    labels_bought: int | None
    """How many labels the selection was to buy; None where nothing was selected."""
    steps: float | None
    train_s: float
    evaluate_s: float
    select_s: float | None
    peak_memory_gib: float
    round_bytes: int | None = None
    """What a round of its trial occupies in the results folder."""
    model_bytes: int | None = None
    """What the model that an evaluation keeps occupies there."""


def read_history(results: Where) -> list[MeasuredRound]:
    """Rounds of a few trials of each point. Raises NoResultsError, or LedgerError where it cannot be read."""
    check_results(results)
    trials = Ledger(results).with_rows().trials()
    return [one for trial, told in _a_few_alike(trials) for one in _rounds_of(trial, told)]


def _a_few_alike(trials: Sequence[TrialLedger]) -> Iterator[tuple[TrialLedger, dict[str, Any]]]:
    """Trials with a finished round, at most so many of each point, with their descriptions."""
    seen: dict[tuple[str, ...], int] = {}
    for trial in trials:
        if not trial.finished_rounds():
            continue
        told = trial.description()
        point = (str(told.get("kind")), *map(str, sorted(told.get("labels", {}).items())))
        seen[point] = seen.get(point, 0) + 1
        if seen[point] <= MOST_ALIKE.get(point[0], 1):
            yield trial, told


def _rounds_of(trial: TrialLedger, told: dict[str, Any]) -> Iterator[MeasuredRound]:
    rows = trial.rows().to_pylist()
    by_round: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_round.setdefault(row["round"], []).append(row)
    round_bytes = bytes_in(trial.place.below("rounds")) // max(1, len(by_round))
    model_bytes = bytes_in(trial.place.below(MODEL)) or None
    identity = told.get("identity", {})
    for found in by_round.values():
        costs = {row["metric"]: row["value"] for row in found if row["split"] == COST}
        steps = [row["value"] for row in found if row["split"] == "train" and row["metric"] == "steps"]
        first = found[0]
        if not {"train_s", "evaluate_s"} <= costs.keys():
            continue
        yield MeasuredRound(
            dataset=digest(identity.get("dataset")),
            encoder=first["encoder"],
            model=first["model"],
            strategy=first["strategy"],
            device=device_kind(first["numeric_class"]),
            num_labeled=first["num_labeled"],
            labels_bought=identity.get("schedule", {}).get("labels_per_round") if "select_s" in costs else None,
            steps=steps[0] if steps else None,
            train_s=costs["train_s"],
            evaluate_s=costs["evaluate_s"],
            select_s=costs.get("select_s"),
            peak_memory_gib=costs.get("peak_memory_gib", 0.0),
            round_bytes=round_bytes,
            model_bytes=model_bytes,
        )


def device_kind(numeric_class: str) -> str:
    """``cpu`` or ``cuda``: a numeric class begins with the processor's kind, or with the GPU's name."""
    return "cpu" if numeric_class.startswith(PROCESSORS) else "cuda"


def bytes_in(place: Place) -> int:
    """Of all files in a place; 0 where there is none."""
    return sum(place.sizes().values())
