"""What a thing is, by content: the digests that name trials and stored features.

A plug-in's identity is its name and its fields. A field marked ``placement()`` says where or how fast, not what, and is
left out; a field marked ``content_path()`` counts as the content of the file or folder, not its address.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelbench_ray.errors import SpecError
from labelbench_ray.fingerprint import Files, Told, content_fingerprint, every_file, its_bytes


def placement(default: Any) -> Any:
    """A dataclass field that changes no number: left out of the identity."""
    return dataclasses.field(default=default, metadata={"identity": "omit"})


def content_path(default: Any = dataclasses.MISSING, files: Files = every_file, told_by: Told = its_bytes) -> Any:
    """A dataclass field holding a path: its identity is what the file contains, or ``files`` of the folder."""
    return dataclasses.field(default=default, metadata={"identity": "content", "files": files, "told_by": told_by})


def content_told_by(fingerprint: Callable[[Any], str]) -> Any:
    """A dataclass field holding a path, whose identity ``fingerprint`` finds from all the fields.

    For a table that names files elsewhere: its own bytes would not tell that one of them has changed.
    """
    return dataclasses.field(metadata={"identity": "content", "fingerprint": fingerprint})


def describe(thing: Any, *, resolve_paths: bool = True) -> Any:
    """Plain JSON data that tells two things apart exactly when they may give different numbers.

    A class whose numbers changed counts up its ``recipe: ClassVar[int]``: what was made before is then another thing.
    """
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        told: dict[str, Any] = {}
        name, recipe = (getattr(type(thing), key, None) for key in ("name", "recipe"))
        if isinstance(name, str):
            told["name"] = name
        if isinstance(recipe, int) and resolve_paths:
            told["recipe"] = recipe
        for field in dataclasses.fields(thing):
            rule = field.metadata.get("identity")
            if rule == "omit" and resolve_paths:
                continue
            value = getattr(thing, field.name)
            if rule == "content" and resolve_paths and value is not None:
                told[field.name] = _content(thing, Path(value), f"{name}: `{field.name}`", field.metadata)
            else:
                told[field.name] = describe(value, resolve_paths=resolve_paths)
        return told
    if isinstance(thing, dict):
        return {str(key): describe(value, resolve_paths=resolve_paths) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [describe(value, resolve_paths=resolve_paths) for value in thing]
    if isinstance(thing, Path):
        return str(thing)
    return thing


def digest(data: Any, length: int = 16) -> str:
    """Hexadecimal BLAKE2b of canonical JSON: equal data, equal digest, on every machine."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=length // 2).hexdigest()


def _content(thing: Any, path: Path, where: str, rule: Mapping[str, Any]) -> str:
    """The fingerprint of what a field names. Raises SpecError when nothing is there."""
    try:
        if "fingerprint" in rule:
            return str(rule["fingerprint"](thing))
        return content_fingerprint(path, rule["files"], rule["told_by"])
    except (FileNotFoundError, NotADirectoryError) as error:
        layout = getattr(thing, "layout", None)
        wanted = f"`path` must be {layout}" if layout else "give the path of a file or folder that exists"
        if hasattr(thing, "download"):
            command = f"labelbench validate dataset {thing.name} --set path=PATH --set download=true"
            wanted += f"; or fetch it first: `{command}`"
        raise SpecError(where, f"nothing at {error.filename}; {wanted}") from None
    except PermissionError as error:
        raise SpecError(where, f"{error.filename} may not be read; ask whoever owns it") from None
    except IsADirectoryError as error:
        raise SpecError(where, f"{error.filename} is a folder; give the path of a file") from None
