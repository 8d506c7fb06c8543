"""What files hold, as a digest: the same wherever they lie, another one when a name or a byte changes.

Of published sets of a hundred gigabytes of images, ``images_by_size`` counts instead of their bytes:
decisions/image_sizes.md.
"""

import functools
import os
import stat
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import xxhash

Files = Callable[[Path], Iterable[Path | str]]
"""Those of a folder that count."""
Told = Callable[[Path | str], str]
"""What of a file counts, as text."""
NamedFiles = Callable[[], Iterable[tuple[str, Path | str]]]
"""Files that count, and the name of each that counts with it."""

LONG_LISTING = 10_000
LONG_LISTING_S = 300.0
"""So many files are looked at again only after so long: each trial of a grid is named by them."""


def every_file(folder: Path) -> Iterator[str]:
    """However deep. By os.walk, because Path.rglob passes over linked folders, which would be left out.

    Raises PermissionError for a folder that may not be read: without it the data would have another name.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    for where, _, names in os.walk(folder, followlinks=True, onerror=refuse):
        yield from (os.path.join(where, name) for name in names)  # noqa: PTH118  (a Path takes ten times as long)


def its_bytes(file: Path | str) -> str:
    """The digest of all of it; unchanged files are read once in a process."""
    status = os.stat(file)  # noqa: PTH116
    return _cached_file_digest(Path(file), status.st_size, status.st_mtime_ns)


def images_by_size(file: Path | str) -> str:
    """The number of bytes of an image; of anything else, all of it: tables hold labels."""
    is_image = os.fspath(file).lower().endswith((".jpg", ".jpeg", ".png"))
    return f"{os.stat(file).st_size} bytes" if is_image else its_bytes(file)  # noqa: PTH116


def content_fingerprint(path: Path, files: Files = every_file, told_by: Told = its_bytes) -> str:
    """Digest of a file's bytes, or of names and bytes of ``files`` of a folder. Raises FileNotFoundError, OSError."""
    path = path.expanduser().resolve()
    if not path.is_dir():
        return f"xxh128:{its_bytes(path)}"
    start = len(str(path)) + 1
    return files_fingerprint((path, files), lambda: ((str(file)[start:], file) for file in files(path)), told_by)


def files_fingerprint(asked: Hashable, files: NamedFiles, told_by: Told = its_bytes) -> str:
    """Digest of names and contents of ``files``, which ``asked`` tells apart from all others.

    Files are read once in a process until one changes. Raises FileNotFoundError for one that is missing, OSError.
    """
    known = _read_before.get((asked, told_by))
    if known and known.is_long and time.monotonic() < known.looked_at + LONG_LISTING_S:
        return known.fingerprint
    listing = _listing(files())
    stamp = _stamp(listing)
    fingerprint = known.fingerprint if known and known.stamp == stamp else _digest(listing, told_by)
    _read_before[asked, told_by] = _Known(stamp, fingerprint, len(listing) >= LONG_LISTING, time.monotonic())
    return fingerprint


def checksum_of(data: bytes) -> str:
    """What ``content_fingerprint`` says of a file with these bytes."""
    return f"xxh128:{xxhash.xxh3_128(data).hexdigest()}"


class _Known(NamedTuple):
    stamp: bytes
    """Of names, sizes and times of change."""
    fingerprint: str
    is_long: bool
    looked_at: float
    """On the monotonic clock."""


_read_before: dict[tuple[Hashable, Told], _Known] = {}


class _Seen(NamedTuple):
    parts: list[str]
    """Of the name, so that files are sorted as paths are: a/x before a-b/x."""
    file: str
    size: int
    modified_ns: int


def _listing(files: Iterable[tuple[str, Path | str]]) -> list[_Seen]:
    found = []
    for name, file in files:
        try:
            status = os.stat(file)  # noqa: PTH116, a million times: Path.stat takes twice as long
        except FileNotFoundError:
            if not os.path.islink(file):  # noqa: PTH114, a data set needs the file: what is there is not yet it
                raise
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(_Seen(name.split(os.sep), os.fspath(file), status.st_size, status.st_mtime_ns))  # noqa: PTH206
    return sorted(found)


def _stamp(listing: Iterable[_Seen]) -> bytes:
    told = xxhash.xxh3_128()
    for seen in listing:
        told.update(repr((seen.parts, seen.size, seen.modified_ns)).encode())
    return told.digest()


def _digest(listing: Iterable[_Seen], told_by: Told) -> str:
    whole = xxhash.xxh3_128()
    for seen in listing:
        whole.update(f"{'/'.join(seen.parts)}\0{told_by(seen.file)}\n".encode())
    return f"xxh128:{whole.hexdigest()}"


@functools.lru_cache(maxsize=100_000)
def _cached_file_digest(path: Path, size: int, modified_ns: int) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            hasher.update(block)
    return hasher.hexdigest()
