"""What embedding took and how wide its rows are: read from the entries of the shards in a feature store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelbench_ray.features.files import read_json
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.features.store import KEY, FeatureStore


@dataclass(frozen=True, kw_only=True)
class MeasuredSet:
    """One set of features, complete or begun."""

    key: dict[str, Any]
    num_rows: int
    width: int
    seconds: float
    """Of one worker, for these rows; 0 where nobody measured."""


def measured_sets(store: FeatureStore) -> list[MeasuredSet]:
    """Every set of the store that has a shard. Raises FeatureStoreError for an entry that is cut short."""
    found = []
    for _, place, entries in store.sets():
        if entries:
            found.append(
                MeasuredSet(
                    key=read_json(place, KEY),
                    num_rows=sum(entry.last - entry.first for entry in entries),
                    width=entries[0].width,
                    seconds=sum(entry.seconds.get("wall", 0.0) for entry in entries),
                )
            )
    return found


def seconds_per_row(sets: Sequence[MeasuredSet], key: FeatureKey) -> float | None:
    """Of one view, from the sets of the same data set and encoder on the same kind of device; None without any."""
    alike = [one for one in sets if one.seconds and _shared(one.key) == _shared(key.told())]
    rows = sum(one.num_rows for one in alike)
    return sum(one.seconds for one in alike) / rows if rows else None


def width_of(sets: Sequence[MeasuredSet], encoder: Any) -> int | None:
    """D of an encoder (told by ``identity.describe``) that has embedded anything."""
    return next((one.width for one in sets if one.key.get("encoder") == encoder), None)


def _shared(key: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(key.get(name) for name in ("dataset", "encoder", "device_kind", "encode_batch_size"))
