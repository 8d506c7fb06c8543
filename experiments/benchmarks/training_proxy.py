"""Rows of FlexMatch with a linear head on stored features, against LabelBench's trainer or a loop over items."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from measure import Measured, NotMeasured
from training_cases import CASES, EPOCHS, Contestant, ProxyCase
from training_contestants import Asked, training
from training_pools import ProxyPool, bought_ids, proxy_pool
from training_rows import Row, Settings

TURN_SECONDS = 1.0
"""A turn of the library repeats its training until this much time has passed, and tells the median."""

DTYPES: tuple[Contestant, ...] = ("float32", "bfloat16")
SUFFIX: dict[Contestant, str] = {"float32": "", "bfloat16": "_bf16"}
NAMES: dict[Contestant, str] = {"loop": "a loop over items", "labelbench": "LabelBench's own trainer"}


@dataclass
class Trained:
    """What a contestant's turns gave, in the order of seeds."""

    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


def rows(settings: Settings) -> list[Row]:
    """A row for each case and dtype. The smoke run has the first case alone, at full size."""
    measured = []
    for case in CASES:
        why = _why_not(case, settings)
        measured += _skipped(case, DTYPES, why) if why else _measured(case, settings)
    return measured


def _why_not(case: ProxyCase, settings: Settings) -> str:
    if settings.smoke and case is not CASES[0]:
        return "not part of --smoke"
    if settings.features is not None:
        with np.load(settings.features) as stored:
            found = int(stored["train_labels"].max()) + 1
        return "" if found == case.classes else f"--features has {found} classes"
    return ""


def _measured(case: ProxyCase, settings: Settings) -> list[Row]:
    pool = proxy_pool(case, settings.folder, settings.features)
    num_rows, width = pool.read("train").shape
    case = replace(case, rows=num_rows, width=width)
    baseline: Contestant = "labelbench" if settings.labelbench else "loop"
    dtypes = [dtype for dtype in DTYPES if dtype == "float32" or _has_bfloat16()]
    trained = take_turns(case, pool, [*dtypes, baseline], settings)
    absent = [dtype for dtype in DTYPES if dtype not in dtypes]
    made = [_row(case, dtype, baseline, trained) for dtype in dtypes]
    return made + _skipped(case, absent, "this processor does not multiply bfloat16")


def take_turns(
    case: ProxyCase, pool: ProxyPool, kinds: Sequence[Contestant], settings: Settings
) -> dict[Contestant, Trained]:
    """Everyone trains with each seed in turn, after one epoch that is thrown away."""
    processes = {kind: Measured(training, kind, case, pool, settings.labelbench) for kind in kinds}
    labels_N = pool.read("train_labels")
    trained = {kind: Trained() for kind in kinds}
    try:
        for turn in range(max(settings.repeats, settings.seeds)):
            asked = Asked(turn, bought_ids(labels_N, case.labels, turn), EPOCHS)
            for kind, process in processes.items():
                if not turn:
                    process.turn(asked._replace(epochs=1))
                run, accuracy = process.turn(asked, 0.0 if kind in NAMES else TURN_SECONDS)
                trained[kind].seconds.append(run.cpu_s)
                trained[kind].accuracies.append(accuracy)
    except NotMeasured as why:
        raise RuntimeError(f"{case.key}: {why.args[0]}") from None
    finally:
        for process in processes.values():
            process.close()
    return trained


def _row(case: ProxyCase, dtype: Contestant, baseline: Contestant, trained: dict[Contestant, Trained]) -> Row:
    ours, other = trained[dtype], trained[baseline]
    accuracy, baseline_accuracy = float(np.mean(ours.accuracies)), float(np.mean(other.accuracies))
    ours_s, other_s = statistics.median(ours.seconds), statistics.median(other.seconds)
    difference, low, high = mean_with_interval(np.subtract(ours.accuracies, other.accuracies).tolist())
    prefix, suffix = case.key, SUFFIX[dtype]
    seeds = len(ours.accuracies)
    interval = f" [{100 * low:+.2f}, {100 * high:+.2f}]" if seeds > 1 else ""
    return Row(
        key=f"{prefix}_ratio{suffix}",
        what=f"{_name(case)}, {dtype}, against {NAMES[baseline]}",
        unit="x",
        value=other_s / ours_s,
        wanted=case.wanted.get(dtype),
        details=f"{ours_s:.3g} s against {other_s:.3g} s; held-out accuracy {accuracy:.2%} against "
        f"{baseline_accuracy:.2%}, difference {100 * difference:+.2f}{interval} points ({seeds} seeds)",
        more={
            f"{prefix}_s{suffix}": ours_s,
            f"{prefix}_baseline_s": other_s,
            f"{prefix}_accuracy{suffix}": accuracy,
            f"{prefix}_baseline_accuracy": baseline_accuracy,
            f"{prefix}_accuracy_difference{suffix}": difference,
            f"{prefix}_accuracy_difference_low{suffix}": low,
            f"{prefix}_accuracy_difference_high{suffix}": high,
            f"{prefix}_seeds": seeds,
        },
    )


def mean_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval by Student's t; an interval of one value is the value."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _skipped(case: ProxyCase, dtypes: Sequence[Contestant], why: str) -> list[Row]:
    return [
        Row(
            key=f"{case.key}_ratio{SUFFIX[dtype]}",
            what=f"{_name(case)}, {dtype}",
            unit="x",
            wanted=case.wanted.get(dtype),
            skipped=why,
        )
        for dtype in dtypes
    ]


def _name(case: ProxyCase) -> str:
    return f"FlexMatch linear, {case.rows:,} x {case.width}, K {case.classes}, {case.labels:,} labels, {EPOCHS} epochs"


def _has_bfloat16() -> bool:
    import torch

    from labelbench_ray.kernels.products import rough_dtype

    return rough_dtype() is torch.bfloat16
