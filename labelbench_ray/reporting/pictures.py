"""What a report shows of a pool besides numbers: where rows lie on a map, and small pictures of them.

    RESULTS/pictures/<pool>.parquet      id, x, y, is_landmark, image (WebP), and who wrote it in the schema's metadata

Made by ``labelbench illustrate``, which has the data; a report has only the results.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.errors import LedgerError
from labelbench_ray.identity import digest
from labelbench_ray.storage.place import Place, Where, place_at

FOLDER, SUFFIX, FORMAT = "pictures", ".parquet", 1
_META = b"labelbench_ray"


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One pool through one encoder, as the trials of one seed saw it."""

    seed: int
    class_names: tuple[str, ...]
    anchors: tuple[tuple[str, float, float], ...]
    """(class name, x, y) of where a class is, of few classes."""
    ids: NDArray[np.int64]
    """(M,) rows of the pool, ascending."""
    places: NDArray[np.float64] | None
    """(M, 2) in [0, 1]; None where there are no features to lay out."""
    is_landmark: NDArray[np.bool_]
    """(M,) rows drawn at random from the whole pool, to stand for it."""
    images: Mapping[int, bytes]
    """WebP files by id; of some rows, or of none."""


def pool_of(identity: Mapping[str, Any]) -> str:
    """Name of the pool that a trial buys from: the digest of its data set and encoder."""
    return digest({key: identity.get(key) for key in ("dataset", "encoder")}, length=12)


def write_picture(results: Where, pool: str, picture: Picture) -> None:
    """Raises OSError."""
    import pyarrow as pa

    from labelbench_ray.benchmark.state import as_parquet

    told = {
        "format": FORMAT,
        "seed": picture.seed,
        "class_names": picture.class_names,
        "anchors": picture.anchors,
        "has_map": picture.places is not None,
    }
    places_M2 = np.zeros((len(picture.ids), 2)) if picture.places is None else picture.places
    table = pa.table(
        {
            "id": picture.ids,
            "x": places_M2[:, 0],
            "y": places_M2[:, 1],
            "is_landmark": picture.is_landmark,
            "image": pa.array([picture.images.get(int(id_)) for id_ in picture.ids], pa.binary()),
        }
    ).replace_schema_metadata({_META: json.dumps(told).encode()})
    place_at(results).write(f"{FOLDER}/{pool}{SUFFIX}", as_parquet(table))


def read_pictures(results: Where) -> dict[str, Picture]:
    """All that a results folder has, by pool. Raises LedgerError for one that cannot be read."""
    place = place_at(results).below(FOLDER)
    names = [name for name in place.names() if name.endswith(SUFFIX)]
    return {name.removesuffix(SUFFIX): _read(place, name) for name in names}


def _read(place: Place, name: str) -> Picture:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(place.read(name)))
        told = json.loads(table.schema.metadata[_META])
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}, not {FORMAT}")
        ids = table["id"].to_numpy().astype(np.int64)
        return Picture(
            seed=int(told["seed"]),
            class_names=tuple(map(str, told["class_names"])),
            anchors=tuple((str(text), float(x), float(y)) for text, x, y in told["anchors"]),
            ids=ids,
            places=np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1) if told["has_map"] else None,
            is_landmark=table["is_landmark"].to_numpy(),
            images={int(id_): data for id_, data in zip(ids, table["image"].to_pylist(), strict=True) if data},
        )
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        todo = "write it again with `labelbench illustrate`, or delete it"
        raise LedgerError(f"{place.where}/{name}", f"cannot be read ({reason})", todo) from None
