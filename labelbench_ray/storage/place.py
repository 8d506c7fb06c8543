"""Where files lie: a folder on a disk, or a prefix in an object store such as ``s3://bucket/results/study``.

Both have what a ledger that may be killed at any moment needs, and no more: a file appears whole or not at all, and a
name can be made by one process alone. Renaming a folder and adding to a file are not among it: object stores cannot.
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from labelbench_ray.errors import StorageError

IN_CLOUD = ("s3://", "gs://")
"""What addresses of object stores begin with."""


class Place(Protocol):
    """Files by name; a name may have slashes in it. Every method raises OSError where the place cannot be used."""

    @property
    def where(self) -> str:
        """The path or the address, for people."""
        ...

    @property
    def is_remote(self) -> bool:
        """A look costs tens of milliseconds, and money."""
        ...

    @property
    def scratch(self) -> Path:
        """A folder of this machine for what must be a file in a folder; on a disk it is the place itself."""
        ...

    def absolute(self) -> "Place":
        """The same for a process with another working folder."""
        ...

    def below(self, name: str) -> "Place":
        """A place within this one."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        ...

    def read(self, name: str, start: int = 0) -> bytes:
        """A file's bytes, from one on. Raises FileNotFoundError."""
        ...

    def modified(self, name: str) -> float:
        """When a file was written, by the clock of the place, in seconds since 1970. Raises FileNotFoundError."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        ...

    def write(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Make or replace a file, whole or not at all.

        One that is ``lasting`` survives a loss of power once another was created beside it that is lasting too.
        """
        ...

    def create(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Make a file, whole or not at all. Raises FileExistsError, for all but one of those who try.

        One that is ``lasting`` survives a loss of power from now on.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def names(self) -> list[str]:
        """Files that lie directly here."""
        ...

    def folders(self) -> list[str]:
        """Places directly below this one that have files."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes of all files here and below, by name."""
        ...

    def publish(self, name: str) -> None:
        """Keep a file, or all files of a folder, that was written to ``scratch`` under this name."""
        ...

    def fetch(self, name: str) -> Path:
        """A file, or a folder with all its files, in ``scratch``. Raises FileNotFoundError."""
        ...

    def now(self, *read_soon: str) -> "Place":
        """The place as it is at this moment, to be read often: an object store is then asked only once.

        ``read_soon`` are patterns (``trials/*/status.json``) of files to be got together.
        """
        ...


Where = str | Path | Place
"""A path, an address, or what was made of it."""


def place_at(where: Where) -> Place:
    """The place of a path or of an address. Raises StorageError for one without a bucket."""
    if not isinstance(where, str | Path):
        return where
    if str(where).startswith(IN_CLOUD):
        from labelbench_ray.storage.in_cloud import InCloud

        if not urlsplit(str(where)).netloc:
            raise StorageError(str(where), "names no bucket", "give s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
        return InCloud(str(where).rstrip("/"))
    from labelbench_ray.storage.on_disk import OnDisk

    return OnDisk(Path(where).expanduser())
