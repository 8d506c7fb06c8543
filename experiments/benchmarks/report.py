"""What goes into the JSON file: one entry for each case, and one for each comparison of one worker with many."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from agreement import agreement
from cases import Case, Contestant, Through
from compete import Terms, compete, compete_with_itself
from measure import Result, elsewhere
from selection_pools import PoolFiles, from_features, mapped, synthetic


def measured_case(case: Case, kinds: Sequence[Contestant], pools: Path, terms: Terms, *, dense: bool) -> dict[str, Any]:
    """Everything that was measured of a case; ``dense``: with badge's products without pruning."""
    case, pool = pool_of(case, pools, stored=len(kinds) > 1)
    results = compete(case, pool, kinds, terms)
    entry = asdict(case) | {"repeats": terms.repeats, "results": {}, "dense": None}
    for kind, result in results.items():
        agrees = "" if kind == "ours" else agreement(case, pool, kind, results["ours"], result)
        entry["results"][kind] = _entry(result, case.device) | {"agrees": agrees}
    if dense and case.strategy == "badge":
        from machine import dense_products

        entry["dense"] = elsewhere(dense_products, pool, case.labels, terms.limit_s)
    return entry


def scaling_of(case: Case, through: Through, many: int, pools: Path, terms: Terms) -> dict[str, Any]:
    """Wall seconds of one and of many threads or actors, taking turns."""
    case, pool = pool_of(case, pools, stored=False)
    alone = replace(case, threads=1, actors=1 if through == "actors" else 0)
    both = [alone, replace(alone, threads=many) if through == "threads" else replace(alone, actors=many)]
    one, all_of_them = compete_with_itself(both, pool, terms)
    refused = one.refused or all_of_them.refused
    return asdict(case) | {
        "through": through,
        "many": many,
        "refused": refused,
        "one_s": 0 if refused else one.median("wall_s"),
        "many_s": 0 if refused else all_of_them.median("wall_s"),
        "same": one.ids == all_of_them.ids,
        "runs": [asdict(run) for result in (one, all_of_them) for run in result.runs],
    }


def pool_of(case: Case, folder: Path, *, stored: bool) -> tuple[Case, PoolFiles]:
    """The pool of a case, made where it is not there yet, and the case with its true sizes.

    ``stored``: someone reads the probabilities from a file, whatever the library does.
    """
    if case.features:
        pool = from_features(folder, case.features, case.bought)
        rows, width = mapped(pool.folder / "embeddings.npy").shape
        case = replace(case, rows=rows, width=width, classes=int(pool.truth.max()) + 1)
    else:
        pool = synthetic(
            folder,
            num_rows=case.rows,
            num_classes=case.classes,
            width=case.width,
            num_labeled=case.bought,
            hostile=case.hostile,
            trained=case.probabilities == "head",
        )
    if pool.trained:
        elsewhere(_train, pool, case.classes, stored or case.probabilities == "mapped")
    return case, pool


def _train(pool: PoolFiles, num_classes: int, stored: bool) -> None:
    from heads import train_head, write_probabilities

    train_head(pool, num_classes)
    if stored:
        write_probabilities(pool)


def _entry(result: Result, device: str) -> dict[str, Any]:
    if result.refused:
        return {"refused": result.refused, "failed": result.failed, "rule": "", "runs": []}
    ids = np.array(result.ids, np.int64)
    return {
        "refused": "",
        "failed": False,
        "rule": result.rule,
        "seconds": result.median("cpu_s" if device == "cpu" else "wall_s"),
        "cpu_s": result.median("cpu_s"),
        "wall_s": result.median("wall_s"),
        "peak_gib": max(run.peak_bytes for run in result.runs) / 2**30,
        "runs": [asdict(run) for run in result.runs],
        "labels_bought": len(ids),
        "ids_sha1": hashlib.sha1(ids.tobytes()).hexdigest(),
    }
