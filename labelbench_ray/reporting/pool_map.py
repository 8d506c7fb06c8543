"""What strategies bought, batch by batch: where it lies in the pool, and how it looks."""

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.benchmark.results import bought_labels
from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.figures import Data
from labelbench_ray.reporting.pictures import Picture, pool_of

MOST_CLASSES = 3
"""Named of a row with several labels; the number of the others follows."""
STEPS = 1000
"""Places on the map are whole numbers up to this: finer than a point is wide."""


def picture_of(
    evidence: Evidence, comparison: Comparison, pictures: Mapping[str, Picture]
) -> tuple[str, Picture] | None:
    """(name, picture) of the pool that a comparison's trials bought from, where it was drawn."""
    identities = {record.trial: record.identity for record in evidence.trials}
    pools = {pool_of(identities.get(trial, {})) for trial in comparison.rows["trial"].unique()}
    found = [(pool, pictures[pool]) for pool in sorted(pools) if pool in pictures]
    return found[0] if found else None


def map_figure(evidence: Evidence, comparison: Comparison, pool: str, picture: Picture) -> Data | None:
    """Batches of each strategy for the picture's seed. None where the results hold none of that seed."""
    drawn = set(picture.ids.tolist())
    rows = comparison.rows[comparison.rows["seed"] == picture.seed]
    trials = {row.series: row.trial for row in rows.drop_duplicates("trial").itertuples()}
    choices = [
        {"title": name, "batches": _batches(evidence, trials[name], picture, drawn)}
        for name in comparison.series
        if trials.get(name) in evidence.ledgers
    ]
    choices = [choice for choice in choices if choice["batches"]]
    if not choices:
        return None
    return {
        "kind": "map",
        "pool": pool,
        "seed": picture.seed,
        "has_map": picture.places is not None,
        "has_images": bool(picture.images),
        "control": "Strategy",
        "choices": choices,
        "shown": 0,
        "last": max(len(choice["batches"]) for choice in choices) - 1,
    }


def pool_data(picture: Picture) -> Data:
    """What all maps of a pool share: places and images by id, the pool's own points, the classes' names."""
    images = {str(id_): base64.b64encode(data).decode() for id_, data in sorted(picture.images.items())}
    if picture.places is None:
        return {"places": {}, "points": [[], []], "anchors": [], "images": images}
    places_M2 = (STEPS * picture.places).round().astype(int)
    return {
        "places": {str(id_): [int(x), int(y)] for id_, (x, y) in zip(picture.ids.tolist(), places_M2, strict=True)},
        "points": places_M2[picture.is_landmark].T.tolist(),
        "anchors": [[html.escape(text), round(STEPS * x), round(STEPS * y)] for text, x, y in picture.anchors],
        "images": images,
    }


def _batches(evidence: Evidence, trial: str, picture: Picture, drawn: set[int]) -> list[Data]:
    table = evidence.ledgers[trial].bought()
    batch, ids, labels = table["batch"].to_numpy(), table["example_id"].to_numpy(), bought_labels(table)
    told = []
    for index in np.unique(batch):
        of_batch = np.flatnonzero(batch == index)
        shown = [place for place in of_batch if int(ids[place]) in drawn]
        told.append(
            {
                "bought": len(of_batch),
                "ids": [int(ids[place]) for place in shown],
                "classes": [_classes(labels[place], picture.class_names) for place in shown],
            }
        )
    return told


def _classes(label: NDArray[np.int64] | Any, names: tuple[str, ...]) -> str:
    """What was answered for a row, in words."""
    if np.ndim(label) == 0:
        return _name(int(label), names) if label >= 0 else "no answer"
    found = [_name(index, names) for index in np.flatnonzero(label).tolist()]
    more = [f"{len(found) - MOST_CLASSES} more"] if len(found) > MOST_CLASSES else []
    return ", ".join([*found[:MOST_CLASSES], *more]) or "none of the classes"


def _name(index: int, names: tuple[str, ...]) -> str:
    return names[index] if index < len(names) else f"class {index}"
