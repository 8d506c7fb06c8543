"""A folder on a disk, or on a file system that several machines share. It needs atomic links and renames, no locks."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labelbench_ray.errors import FULL


@dataclass(frozen=True)
class OnDisk:
    """Satisfies ``Place``."""

    folder: Path

    @property
    def where(self) -> str:
        """The path."""
        return str(self.folder)

    @property
    def is_remote(self) -> bool:
        """Never."""
        return False

    @property
    def scratch(self) -> Path:
        """The folder itself."""
        return self.folder

    def absolute(self) -> "OnDisk":
        """With its whole path."""
        return OnDisk(self.folder.resolve())

    def below(self, name: str) -> "OnDisk":
        """A folder within it."""
        return OnDisk(self.folder / name)

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self.folder / name).is_file()

    def read(self, name: str, start: int = 0) -> bytes:
        """A file's bytes."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(start)
                return file.read()
        except NotADirectoryError as error:  # something else has the folder's name
            raise FileNotFoundError(*error.args) from None

    def modified(self, name: str) -> float:
        """By the clock of the file system."""
        return (self.folder / name).stat().st_mtime

    def size(self, name: str) -> int:
        """As the file system tells."""
        try:
            return (self.folder / name).stat().st_size
        except NotADirectoryError as error:  # something else has the folder's name
            raise FileNotFoundError(*error.args) from None

    def write(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Written beside, then renamed.

        On a disk that is full, what is as long as before is written in its place: so leases are renewed and given back.
        """
        try:
            self._place(name, data, lasting, Path.replace)
        except OSError as error:
            if error.errno not in FULL or not self._is_as_long(name, data):
                raise
            with (self.folder / name).open("rb+", buffering=0) as file:
                file.write(data)

    def create(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Written beside, then linked, which the file system lets one process do."""
        self._place(name, data, lasting, os.link)
        if lasting:  # the name itself, and that of its folder
            folder = (self.folder / name).parent
            _sync_folder(folder)
            _sync_folder(folder.parent)

    def delete(self, name: str) -> None:
        """Remove the file."""
        (self.folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Without drafts."""
        return [entry.name for entry in self._entries() if entry.is_file()]

    def folders(self) -> list[str]:
        """Folders, sorted by name."""
        return sorted(entry.name for entry in self._entries() if entry.is_dir())

    def sizes(self) -> dict[str, int]:
        """Of all files but drafts."""
        files = (file for file in self.folder.rglob("*") if file.is_file() and not file.name.startswith("."))
        return {str(file.relative_to(self.folder)): file.stat().st_size for file in files}

    def publish(self, name: str) -> None:
        """It is there already."""

    def fetch(self, name: str) -> Path:
        """It is there already."""
        path = self.folder / name
        path.stat()
        return path

    def now(self, *read_soon: str) -> Self:
        """The folder: a look costs little."""
        return self

    def remove_drafts(self) -> None:
        """Remove what writers that were killed left directly here. Nobody else may be writing."""
        for entry in self._entries(drafts=True):
            if entry.is_file():
                Path(entry.path).unlink(missing_ok=True)

    def _place(self, name: str, data: bytes, lasting: bool, place: Callable[[Path, Path], object]) -> None:
        path = self.folder / name
        with draft_beside(path) as draft:
            with draft.open("wb") as file:
                file.write(data)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            place(draft, path)

    def _is_as_long(self, name: str, data: bytes) -> bool:
        return self.has(name) and (self.folder / name).stat().st_size == len(data)

    def _entries(self, drafts: bool = False) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as found:
                yield from (entry for entry in found if entry.name.startswith(".") == drafts)
        except (FileNotFoundError, NotADirectoryError):
            return


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """A name in the same folder, which is made; nothing is left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
