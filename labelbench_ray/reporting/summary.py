"""What was found, in sentences that claim no more than the intervals allow."""

import math
from typing import Any

from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence
from labelbench_ray.reporting.curves import seeds_note
from labelbench_ray.reporting.measures import count, listed, readable, signed, written
from labelbench_ray.reporting.statistics import Compared, best_first


def title(evidence: Evidence) -> str:
    """The page's title."""
    datasets = sorted(map(readable, evidence.rows["dataset"].unique()))
    return f"Label-efficient learning on {listed(datasets) if len(datasets) < 4 else count(len(datasets), 'data set')}"


def overview(evidence: Evidence) -> str:
    """What was compared: strategies, data, models, seeds, budgets."""
    comparisons = evidence.comparisons
    if not comparisons:
        return "This folder holds evaluations only: no trial that selects has finished a round."
    rows = evidence.rows[evidence.rows["kind"] == "selection"]
    strategies = sorted({name for comparison in comparisons for name in comparison.series})
    shared = {name: sorted(map(readable, rows[name].unique())) for name in ("dataset", "encoder", "trainer")}
    parts = {name: listed(values) if len(values) < 4 else f"{len(values)} {name}s" for name, values in shared.items()}
    first, last = int(rows["num_labeled"].min()), int(rows["num_labeled"].max())
    seeds = [comparison.final["seed"].nunique() for comparison in comparisons]
    up_to = "" if len(set(seeds)) == 1 else "up to "
    number = count(len(strategies), "strategy", "strategies")
    return (
        f"This report compares {number} ({listed(strategies)}) on {parts['dataset']}, "
        f"with encoder {parts['encoder']} and trainer {parts['trainer']}, "
        f"over {up_to}{count(max(seeds), 'seed')}, {_budgets(first, last)}."
    )


def verdict(comparison: Comparison, compared: Compared) -> str:
    """Which strategy is ahead at the last budget, by how much, and whether the interval says so."""
    measure = comparison.primary
    frame = compared.frame[(compared.frame["split"] == measure.split) & (compared.frame["metric"] == measure.metric)]
    fair = frame[~frame["cheats"]].dropna(subset="mean")
    if fair.empty:
        return f"No strategy has a {measure.in_words} at {count(comparison.final_budget, 'label')}."
    best = best_first(fair, measure).iloc[0].to_dict()
    error = "" if math.isnan(best["standard_error"]) else f"standard error {measure.write(best['standard_error'])}, "
    lead = (
        f"At {count(comparison.final_budget, 'label')}, {best['series']} has the best mean {measure.in_words}: "
        f"{measure.write(best['mean'])}{_unit(measure.unit)} ({error}{count(best['n'], 'seed')})"
    )
    return f"{lead}{_margin(comparison, compared, best)}{_upper_bounds(comparison)}"


def tally(outcomes: list[bool | None]) -> str:
    """How often the best strategy of a comparison is told apart from the baseline."""
    known = [outcome for outcome in outcomes if outcome is not None]
    if not known:
        return ""
    return (
        f" In {sum(known)} of {count(len(known), 'comparison')} with an interval, that of the best strategy against "
        f"{BASELINE} excludes zero."
    )


def conclusive(comparison: Comparison, compared: Compared) -> bool | None:
    """Whether the best strategy differs from the baseline by an interval without zero; None if that is unknown."""
    measure = comparison.primary
    frame = compared.frame
    fair = frame[(frame["split"] == measure.split) & (frame["metric"] == measure.metric) & ~frame["cheats"]]
    gains = fair.dropna(subset="difference_low")
    if gains.empty:
        return None
    best = best_first(fair.dropna(subset="mean"), measure).iloc[0]
    return bool(best["difference_low"] > 0 or best["difference_high"] < 0)


def warnings(comparison: Comparison) -> list[str]:
    """What a reader must know before trusting the numbers of a comparison."""
    found = []
    classes = comparison.numeric_classes
    if len(classes) > 1:
        found.append(
            f"The numbers come from {len(classes)} numeric classes ({listed(list(classes))}). Equal trials can differ "
            "between them, so means and differences here mix machine effects with those of the strategies: run all on "
            "one kind of machine before publishing."
        )
    found += _seed_warnings(comparison)
    if BASELINE not in comparison.series:
        found.append(f"{BASELINE} is not among the strategies: no differences and no label savings are given.")
    return found


def _seed_warnings(comparison: Comparison) -> list[str]:
    """None where nothing was scored at the last budget, which the verdict says."""
    seeds = comparison.final.groupby("series")["seed"].nunique()
    if seeds.empty:
        return []
    found = []
    if (note := seeds_note(int(seeds.min()))) is not None:
        found.append(f"{note[0].upper()}{note[1:]}.")
    fewer = [f"{name} {seeds.get(name, 0)}" for name in comparison.series if seeds.get(name, 0) < seeds.max()]
    if fewer:
        found.append(
            f"Fewer than {count(int(seeds.max()), 'seed')} have finished the last budget with: {listed(fewer)}."
        )
    return found


def _margin(comparison: Comparison, compared: Compared, best: dict[str, Any]) -> str:
    measure = comparison.primary
    if best["series"] == BASELINE:
        return "; no strategy is ahead of it." if len(comparison.series) > 1 else "."
    if math.isnan(best["difference"]):
        return f". Its difference from {BASELINE} is not known." if BASELINE in comparison.series else "."
    decimals = 2 if measure.is_fraction else 3
    points = " points" if measure.is_fraction else ""
    direction = "above" if best["difference"] >= 0 else "below"
    size = f"{written(abs(best['difference']) * measure.scale, decimals)}{points} {direction} {BASELINE}"
    if math.isnan(best["difference_low"]):
        return f", {size} on the one seed that both finished."
    low, high = (signed(best[f"difference_{end}"] * measure.scale, decimals) for end in ("low", "high"))
    interval = f"95 % interval {low} to {high}, paired over {count(int(best['pairs']), 'seed')}"
    if best["difference_low"] <= 0 <= best["difference_high"]:
        return f", {size}, but the interval covers zero ({interval}): these runs do not settle whether it differs."
    return f", {size} ({interval})."


def _upper_bounds(comparison: Comparison) -> str:
    names = sorted(comparison.cheats)
    if not names:
        return ""
    return f" {listed(names)} {'sees' if len(names) == 1 else 'see'} hidden labels: an upper bound, not a competitor."


def _budgets(first: int, last: int) -> str:
    return f"with {count(last, 'label')}" if first == last else f"from {first:,} to {last:,} labels"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
