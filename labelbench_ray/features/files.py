"""The small files of a feature store, on a disk or in an object store; what goes wrong becomes one line."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from labelbench_ray.errors import FeatureStoreError
from labelbench_ray.storage.place import IN_CLOUD, Place

ANEW = "delete this file and run again, which makes it anew"
LOOK_AT_STORE = "look at that store, its keys and the network, then run again"


def read_json(place: Place, name: str) -> Any:
    """Plain data. Raises FeatureStoreError naming the file, also where there is none."""
    with reading(place, name):
        data = place.read(name)
    try:
        return json.loads(data)
    except ValueError as error:
        raise FeatureStoreError(
            f"{place.where}/{name}", f"was altered or cut short: it is no JSON ({error}); {ANEW}"
        ) from None


def write_json(place: Place, name: str, plain: Any) -> None:
    """Keep plain data, whole or not at all. Raises FeatureStoreError."""
    with writing(place, name):
        place.write(name, json.dumps(plain, indent=1, sort_keys=True).encode(), lasting=True)


@contextlib.contextmanager
def reading(place: Place, name: str = "") -> Iterator[None]:
    """Within the block, errors of the place are FeatureStoreError."""
    advice = LOOK_AT_STORE if _in_cloud(place) else "look at that disk, then run again"
    with _told(f"{place.where}/{name}".rstrip("/"), "cannot be read", advice):
        yield


@contextlib.contextmanager
def writing(place: Place, name: str) -> Iterator[None]:
    """The same, for a block that writes."""
    advice = LOOK_AT_STORE if _in_cloud(place) else "free space, or choose another --features"
    with _told(f"{place.where}/{name}", "cannot be written", advice):
        yield


@contextlib.contextmanager
def removing(place: Place) -> Iterator[None]:
    """The same, for a block that deletes a set."""
    with _told(place.where, "cannot be removed", "check who may write there"):
        yield


@contextlib.contextmanager
def copying(place: Place, name: str) -> Iterator[None]:
    """The same, for a block that writes what this machine keeps of a place; on a disk, that is the place itself."""
    if not _in_cloud(place):
        with writing(place, name):
            yield
        return
    advice = "free space, or set LABELBENCH_COPIES to a folder of another disk"
    with _told(f"{place.where}/{name}", f"cannot be kept in {place.scratch}", advice):
        yield


@contextlib.contextmanager
def _told(where: str, what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FeatureStoreError(where, f"{what} ({error.strerror or error}); {advice}") from error


def _in_cloud(place: Place) -> bool:
    return place.where.startswith(IN_CLOUD)
