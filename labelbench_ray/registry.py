"""A table per kind of plug-in: names to classes, imported only when asked for.

Listing names imports nothing, and a plug-in whose package is missing breaks only itself. Packages outside this one add
theirs through the entry point group ``labelbench_ray.<plural kind>``, such as ``labelbench_ray.strategies``.
"""

import dataclasses
import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from labelbench_ray.errors import (
    DuplicateNameError,
    LabelBenchError,
    SpecError,
    UnknownKeyError,
    UnknownNameError,
)

P = TypeVar("P")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean: margin?`` or nothing, for the end of an error."""
    near = difflib.get_close_matches(str(word), list(known), n=3, cutoff=0.6)
    return f" Did you mean: {', '.join(near)}?" if near else ""


class Registry(Generic[P]):
    """Names of one kind of plug-in and where their classes are.

    A plug-in class is a frozen dataclass whose fields are its parameters, with a class attribute ``name`` equal to its
    name here.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self._group = f"labelbench_ray.{group}"
        self._targets: dict[str, str] = {}

    def add(self, name: str, target: str) -> None:
        """Enter ``module:Class`` under a name. Raises DuplicateNameError."""
        if name in self._targets and self._targets[name] != target:
            raise DuplicateNameError(self.kind, name, self._targets[name], target)
        self._targets[name] = target
        self.__dict__.pop("_all", None)  # a list made earlier does not have it

    @functools.cached_property
    def _all(self) -> dict[str, str]:
        targets = dict(self._targets)
        for point in entry_points(group=self._group):
            if targets.get(point.name, point.value) != point.value:
                raise DuplicateNameError(self.kind, point.name, targets[point.name], point.value)
            targets[point.name] = point.value
        return targets

    def names(self) -> list[str]:
        """All names, sorted. Imports no plug-in."""
        return sorted(self._all)

    def get(self, name: str) -> type[P]:
        """Import and return the class. Raises UnknownNameError with near names."""
        if name not in self._all:
            raise UnknownNameError(self.kind, name, did_you_mean(name, self._all))
        module, _, attribute = self._all[name].partition(":")
        return cast(type[P], getattr(importlib.import_module(module), attribute))

    def build(self, spec: Any, where: str | None = None) -> P:
        """Make the plug-in from ``"name"``, ``{"name": ..., parameter: ...}``, or return one already made.

        Raises UnknownNameError, UnknownKeyError or SpecError, each naming ``where`` in the file.
        """
        where = where or self.kind
        if dataclasses.is_dataclass(spec) and not isinstance(spec, type):
            return cast(P, spec)
        if isinstance(spec, str):
            spec = {"name": spec}
        if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
            raise SpecError(where, f"expected a name or {{name: ..., parameters}}, got {spec!r}")
        parameters = {str(key): value for key, value in spec.items() if key != "name"}
        return construct(self.get(spec["name"]), parameters, f"{where} {spec['name']}")


def parameter_names(plugin: type) -> list[str]:
    """The fields a user may set."""
    return [field.name for field in dataclasses.fields(plugin) if field.init]


def construct(plugin: type[P], parameters: Mapping[str, Any], where: str) -> P:
    """Build a plug-in dataclass with its fields' types checked (numbers written as text are read as numbers)."""
    from pydantic import TypeAdapter, ValidationError

    known = parameter_names(plugin)
    for key in parameters:
        if key not in known:
            raise UnknownKeyError(where, key, did_you_mean(key, known), ", ".join(known) or "none")
    try:
        return TypeAdapter(plugin).validate_python(dict(parameters))
    except ValidationError as error:
        raise SpecError(where, describe_validation_error(error)) from None
    except LabelBenchError:
        raise
    except (TypeError, ValueError) as error:
        raise SpecError(where, str(error)) from None


def describe_validation_error(error: Any) -> str:
    """The first complaint of a pydantic error, in one line: which key, what is wrong, what was given."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    given = "" if first["type"] in {"missing", "value_error"} else f", got {first['input']!r}"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return f"`{key}` {message[:1].lower()}{message[1:]}{given}{more}" if key else f"{message}{given}{more}"
