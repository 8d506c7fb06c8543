"""Whether a place is one that a run wrote, and which one may have been meant where it is not."""

from pathlib import Path

from labelbench_ray.errors import NoResultsError
from labelbench_ray.registry import did_you_mean
from labelbench_ray.storage.place import Where, place_at

GRID_FILE = "experiment.json"
"""What a run writes of its grid before any trial begins."""


def check_results(results: Where) -> None:
    """Raises NoResultsError, with near names, for a place that no run wrote."""
    place = place_at(results)
    if {"trials", "runs"} & set(place.folders()) or place.has(GRID_FILE):
        return
    if place.is_remote:
        raise NoResultsError(place.where, "no trials there", "")
    folder = Path(place.where)
    told = "no trials in it" if folder.is_dir() else "it is a file" if folder.exists() else "there is no such folder"
    beside = [file.parent.name for file in folder.parent.glob(f"*/{GRID_FILE}")]
    raise NoResultsError(place.where, told, did_you_mean(folder.name, beside))
