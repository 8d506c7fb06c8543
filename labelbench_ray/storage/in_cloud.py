"""A prefix in an object store: Amazon S3 and what speaks its language, Google Cloud Storage.

Everything goes through ``obstore``, which repeats requests that fail for a while and knows the conditional writes that
let one process alone make a name. Keys and addresses come from where each cloud's own tools look for them: environment
variables, the profile or the role of the machine. They are looked up by every process anew and never travel.
"""

import contextlib
import errno
import functools
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from labelbench_ray.errors import StorageError

if TYPE_CHECKING:
    from labelbench_ray.storage.snapshot import Snapshot

COPIES = "LABELBENCH_COPIES"
"""Environment variable: the folder for this machine's copies of what lies in object stores."""


@dataclass(frozen=True)
class InCloud:
    """Satisfies ``Place``. Small and picklable; ``url`` has no slash at its end."""

    url: str

    @property
    def where(self) -> str:
        """The address."""
        return self.url

    @property
    def is_remote(self) -> bool:
        """Always."""
        return True

    @property
    def scratch(self) -> Path:
        """In ``LABELBENCH_COPIES``, else in the user's cache folder. May be deleted while nothing runs."""
        parts = urlsplit(self.url)
        return copies() / parts.scheme / parts.netloc / parts.path.strip("/")

    def absolute(self) -> Self:
        """Itself."""
        return self

    def below(self, name: str) -> "InCloud":
        """A longer prefix."""
        return InCloud(f"{self.url}/{name}")

    def has(self, name: str) -> bool:
        """Asks for the object's head."""
        try:
            self.modified(name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, start: int = 0) -> bytes:
        """The object's bytes."""
        return self.read_tagged(name)[0][start:]

    def read_tagged(self, name: str) -> tuple[bytes, str]:
        """The object's bytes, and the tag that the store gives to this content."""
        with self._talking() as store:
            got = store.get(self._key(name))
            return bytes(got.bytes()), str(got.meta["e_tag"])

    def modified(self, name: str) -> float:
        """By the clock of the store."""
        return float(self._head(name)["last_modified"].timestamp())

    def size(self, name: str) -> int:
        """As the store tells."""
        return int(self._head(name)["size"])

    def write(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Put it; object stores keep what they have said yes to."""
        with self._talking() as store:
            store.put(self._key(name), data)

    def create(self, name: str, data: bytes, *, lasting: bool = False) -> None:
        """Put it on condition that there is none.

        A request whose answer was lost is repeated, and then finds its own object: that one counts as made.
        """
        try:
            with self._talking() as store:
                store.put(self._key(name), data, mode="create")
        except FileExistsError:
            if self.read(name) != data:
                raise

    def delete(self, name: str) -> None:
        """Remove the object."""
        with self._talking() as store, contextlib.suppress(FileNotFoundError):
            store.delete(self._key(name))

    def names(self) -> list[str]:
        """One listing of this level."""
        with self._talking() as store:
            found = store.list_with_delimiter(self._key(""))["objects"]
            return [one["path"].rpartition("/")[2] for one in found]

    def folders(self) -> list[str]:
        """One listing of this level."""
        with self._talking() as store:
            return sorted(
                path.rpartition("/")[2] for path in store.list_with_delimiter(self._key(""))["common_prefixes"]
            )

    def sizes(self) -> dict[str, int]:
        """One listing of everything, a request per thousand objects."""
        return {name: one["size"] for name, one in self.listing()}

    def listing(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the store tells of every object here and below, by name."""
        prefix = self._key("")
        start = len(prefix) + 1 if prefix else 0
        with self._talking() as store:
            for chunk in store.list(prefix):
                yield from ((one["path"][start:], one) for one in chunk)

    def publish(self, name: str) -> None:
        """Put what lies in ``scratch``."""
        for file in _files(self.scratch / name):
            self.write(str(file.relative_to(self.scratch)), file.read_bytes())

    def fetch(self, name: str) -> Path:
        """Get it into ``scratch``, where it replaces what may lie there."""
        path = self.scratch / name
        names = [f"{name}/{one}" for one, _ in self.below(name).listing()] or [name]
        for one in names:
            write_whole(self.scratch / one, self.read(one))
        return path

    def now(self, *read_soon: str) -> "Snapshot":
        """One listing, and what will be read soon."""
        from labelbench_ray.storage.snapshot import snapshot_of

        return snapshot_of(self, read_soon)

    def _head(self, name: str) -> Any:
        with self._talking() as store:
            return store.head(self._key(name))

    def _key(self, name: str) -> str:
        return "/".join(part for part in (urlsplit(self.url).path.strip("/"), name) if part)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[Any]:
        """The store of the bucket; its errors as Python's own, in one line."""
        from obstore import exceptions

        try:
            yield _store(self.url)
        except FileNotFoundError as error:
            self._check_bucket(error)
            raise FileNotFoundError(errno.ENOENT, "is not there", self.url) from None
        except exceptions.AlreadyExistsError:
            raise FileExistsError(errno.EEXIST, "is there already", self.url) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, _in_words(error), self.url) from None
        except exceptions.BaseError as error:
            self._check_bucket(error)
            raise OSError(errno.EIO, _in_words(error), self.url) from None

    def _check_bucket(self, error: BaseException) -> None:
        if "NoSuchBucket" in str(error):
            raise StorageError(self.url, "there is no such bucket", "make it, or give another address") from None


def copies() -> Path:
    """This machine's copies of what lies in object stores."""
    told = os.environ.get(COPIES)
    return Path(told).expanduser() if told else Path.home() / ".cache" / "labelbench_ray"


def write_whole(path: Path, data: bytes) -> None:
    """Make or replace a file of this machine, whole or not at all, whoever else does the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _store(url: str) -> Any:
    parts = urlsplit(url)
    return _bucket(f"{parts.scheme}://{parts.netloc}", os.getpid())


@functools.cache
def _bucket(url: str, _pid: int) -> Any:
    """A connection to a bucket; a forked process needs its own. Raises StorageError."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise StorageError(url, "the package obstore is missing", "install labelbench_ray[cloud]") from None
    endpoint = next((os.environ[name] for name in ENDPOINTS if name in os.environ), "")
    try:
        return from_url(
            url,
            credential_provider=_aws_credentials() if url.startswith("s3:") else None,
            client_options={"allow_http": endpoint.startswith("http://")},
        )
    except Exception as error:  # of several unrelated classes
        raise StorageError(url, _in_words(error), "look at the address and at the cloud's credentials") from None


ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def _aws_credentials() -> Any:
    """Those of boto3, which knows profiles, where there is such a package; else the store's own search finds them."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    except (ImportError, ValueError):
        return None


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _in_words(error: BaseException) -> str:
    """The end of the first line, which says what went wrong after what was tried, and how often it was."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    asked = re.search(r"after (\d+) retries", line)
    times = f", asked {int(asked[1]) + 1} times" if asked and int(asked[1]) else ""
    return f"{line.rpartition(' - ')[2].removeprefix('Generic S3 error: ').removeprefix('Generic GCS error: ')}{times}"
