"""An object store as it was at one moment: one listing, and a file of this machine for each content that was read.

A ledger of a thousand trials is looked at through tens of thousands of names. Asked one by one they would take minutes
and cost money; a listing tells of a thousand at a time, and says of each by a tag whether it has changed.
"""

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn, Self

from labelbench_ray.storage.in_cloud import InCloud, copies, write_whole

AT_ONCE = 16
"""Requests under way at a time."""


@dataclass
class _Folder:
    files: dict[str, dict[str, Any]]
    folders: set[str]


@dataclass(frozen=True)
class Snapshot:
    """Satisfies ``Place``, for reading. What was written after it was taken is not seen."""

    place: InCloud
    _tree: dict[str, _Folder]
    _at: str = ""
    """Where in the tree this one begins; empty, or with a slash at its end."""

    @property
    def where(self) -> str:
        """The address."""
        return self.place.where

    @property
    def is_remote(self) -> bool:
        """Looks cost nothing any more."""
        return False

    @property
    def scratch(self) -> Path:
        """That of the place."""
        return self.place.scratch

    def absolute(self) -> Self:
        """Itself."""
        return self

    def below(self, name: str) -> "Snapshot":
        """A part of it."""
        return Snapshot(self.place.below(name), self._tree, f"{self._at}{name}/")

    def has(self, name: str) -> bool:
        """Whether it was listed."""
        return self._told(name) is not None

    def read(self, name: str, start: int = 0) -> bytes:
        """From this machine's copy, if the content is the same."""
        copy = _copy_of(f"{self.where}/{name}", self._listed(name)["e_tag"])
        try:
            return copy.read_bytes()[start:]
        except FileNotFoundError:
            data, tag = self.place.read_tagged(name)  # newer than the listing, perhaps
            with contextlib.suppress(OSError):  # a full disk of this machine costs requests, and no answer
                write_whole(_copy_of(f"{self.where}/{name}", tag), data)
            return data[start:]

    def modified(self, name: str) -> float:
        """As listed."""
        return float(self._listed(name)["last_modified"].timestamp())

    def size(self, name: str) -> int:
        """As listed."""
        return int(self._listed(name)["size"])

    def names(self) -> list[str]:
        """As listed."""
        return list(self._here().files)

    def folders(self) -> list[str]:
        """As listed."""
        return sorted(self._here().folders)

    def sizes(self) -> dict[str, int]:
        """As listed."""
        return {name: told["size"] for name, told in self._below("")}

    def fetch(self, name: str) -> Path:
        """From the place itself."""
        return self.place.fetch(name)

    def now(self, *read_soon: str) -> "Snapshot":
        """A newer one."""
        return self.place.now(*read_soon)

    def write(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Refused."""
        self._refuse(name)

    def create(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Refused."""
        self._refuse(name)

    def delete(self, name: str) -> None:
        """Refused."""
        self._refuse(name)

    def publish(self, name: str) -> None:
        """Refused."""
        self._refuse(name)

    def read_ahead(self, patterns: Iterable[str]) -> None:
        """Get all files that match one of these into this machine's copies, several at a time."""
        wanted = [name for name, _ in self._below("") if any(fnmatchcase(name, pattern) for pattern in patterns)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.read, wanted))

    def _refuse(self, name: str) -> NoReturn:
        raise TypeError(f"{self.where}/{name} is written through its place, not through a snapshot")

    def _here(self) -> _Folder:
        return self._tree.get(self._at) or _Folder({}, set())

    def _told(self, name: str) -> dict[str, Any] | None:
        folder, slash, last = f"{self._at}{name}".rpartition("/")
        found = self._tree.get(folder + slash)
        return found.files.get(last) if found else None

    def _listed(self, name: str) -> dict[str, Any]:
        told = self._told(name)
        if told is None:
            raise FileNotFoundError(f"{self.where}/{name}")
        return told

    def _below(self, prefix: str) -> Iterable[tuple[str, dict[str, Any]]]:
        here = self._tree.get(f"{self._at}{prefix}")
        if here:
            yield from ((f"{prefix}{name}", told) for name, told in here.files.items())
            for folder in here.folders:
                yield from self._below(f"{prefix}{folder}/")


def snapshot_of(place: InCloud, read_soon: Iterable[str] = ()) -> Snapshot:
    """List a place and get what will be read soon."""
    tree: dict[str, _Folder] = defaultdict(lambda: _Folder({}, set()))
    for name, told in place.listing():
        folder, slash, last = name.rpartition("/")
        tree[folder + slash].files[last] = told
        while folder:
            folder, slash, last = folder.rpartition("/")
            tree[folder + slash].folders.add(last)
    found = Snapshot(place, dict(tree))
    found.read_ahead(tuple(read_soon))
    return found


def _copy_of(address: str, tag: str) -> Path:
    """A file that holds one content of one object for ever."""
    name = hashlib.blake2b(f"{address} {tag}".encode(), digest_size=16).hexdigest()
    return copies() / "contents" / name[:2] / name
