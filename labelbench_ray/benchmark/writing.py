"""How what a results folder holds is written: what goes wrong becomes one line, small files are JSON."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from labelbench_ray.errors import LedgerError
from labelbench_ray.storage.place import Place


@contextlib.contextmanager
def writing(where: str) -> Iterator[None]:
    """Within the block, errors of the place are LedgerError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LedgerError(where, f"cannot be written ({reason})", "free space, or choose another --results") from error


def write_json(place: Place, name: str, data: Any) -> None:
    """Write a small file, whole or not at all. Raises LedgerError."""
    with writing(f"{place.where}/{name}"):
        place.write(name, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())
