"""Files of one JSON object a line, appended to by processes that may be killed at any moment.

A line goes out in one write to a file opened for appending, so lines of several processes do not mix on a local disk,
and a killed process leaves at most its last line unfinished: readers skip it, the next writer begins a new one.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelbench_ray.storage.place import Place

HIDDEN = "***"

_IN_ADDRESS = re.compile(r"(://)[^\s/@:]*(?::\S*)?@")
"""User and password of an address, up to the last @: a password may hold one."""

_NAMED = re.compile(
    r"""(?ix)
    ( [\w-]* (?:password|passwd|secret|token|(?:api|access)[_-]?key|signature|credential) [\w-]* ["']? \s* [=:] \s* )
    (?: "[^"]*" | '[^']*' | [^\s&,;"']+ )
    | ( \b bearer \s+ ) \S+
    """
)
"""A value after a name that says it is one, as in query strings, environments and headers."""


def mask(text: str) -> str:
    """The text without passwords: ``https://user:word@host`` becomes ``https://***@host``."""
    without_users = _IN_ADDRESS.sub(rf"\g<1>{HIDDEN}@", text)
    return _NAMED.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", without_users)


def timestamp(seconds: float) -> str:
    """UTC, to the millisecond: ``2026-11-22T20:15:03.120Z``. Sorts as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def append(file: Path, record: Mapping[str, Any]) -> None:
    """Add one line, with secrets masked and what is empty left out. Raises OSError."""
    kept = {key: mask(value) if isinstance(value, str) else value for key, value in record.items()}
    line = json.dumps({key: value for key, value in kept.items() if value not in ("", None, {})}, default=str) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o644)
    try:
        os.write(handle, (b"" if _ends_a_line(handle) else b"\n") + line.encode())
    finally:
        os.close(handle)


def read(place: Place, name: str) -> list[dict[str, Any]]:
    """All whole lines that are JSON objects; none where there is no file."""
    try:
        return [record for line in place.read(name).splitlines() if (record := _parsed(line)) is not None]
    except FileNotFoundError:
        return []


class Follower:
    """Reads what was added to a file since the last look."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name = place, name
        self._offset = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Records of the lines that ended since; a line that is still being written waits for the next look."""
        try:
            added = self._place.read(self._name, self._offset)
        except FileNotFoundError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from (record for line in whole.splitlines() if (record := _parsed(line)) is not None)


def _ends_a_line(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:  # cut short, by a kill or by where reading began
        return None
    return found if isinstance(found, dict) else None
