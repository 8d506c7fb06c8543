"""From an experiment file on disk to plain data: YAML, ``key=value`` overrides, ``${VARIABLE}``, and lists as axes."""

import itertools
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from labelbench_ray.errors import SpecError
from labelbench_ray.identity import describe, digest
from labelbench_ray.registry import Registry


def read_spec(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain data of an experiment file with ``key=value`` overrides applied and ``${VARIABLE}`` filled in."""
    try:
        spec = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SpecError(str(path), f"cannot be read ({error.strerror}); give the path of an experiment file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(str(path), f"is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(spec, dict):
        raise SpecError(str(path), "should hold `key: value` lines at the top")
    return with_overrides(spec, overrides)


def with_overrides(spec: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain data with ``key=value`` overrides applied and ``${VARIABLE}`` filled in."""
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key:
            raise SpecError("--set", f"expected key=value, got {override!r}")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SpecError("--set", f"the value of {override!r} is not YAML") from None
        spec = _with_value(spec, key.split("."), parsed, key)
    return typing.cast(dict[str, Any], _fill_environment(spec))


def _with_value(node: Any, keys: list[str], value: Any, whole: str) -> Any:
    if not keys:
        return value
    if isinstance(node, list):
        return [_with_value(entry, keys, value, whole) for entry in node]
    if isinstance(node, str):
        node = {"name": node}
    if node is None:
        node = {}
    if not isinstance(node, dict):
        raise SpecError("--set", f"`{whole}` leads into {node!r}, which has no parts")
    return {**node, keys[0]: _with_value(node.get(keys[0]), keys[1:], value, whole)}


def _fill_environment(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _fill_environment(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill_environment(value) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: "re.Match[str]") -> str:
        if match[1] not in os.environ:
            raise SpecError(
                "experiment", f"environment variable {match[1]} is not set; export it or override with --set"
            )
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", value_of, node)


def variants(value: Any, table: Registry[Any]) -> tuple[Any, ...]:
    """The plug-ins that a name, a mapping or a list of them stands for, each once."""
    entries = value if isinstance(value, list | tuple) else [value]
    if not entries:
        raise SpecError(table.kind, "the list is empty; name at least one")
    points = [point for entry in entries for point in _points(entry, table)]
    if not points:
        raise SpecError(table.kind, "a list in it is empty, so that no trial is left")
    built = [table.build(point, table.kind) for point in points]
    return tuple({digest(describe(one, resolve_paths=False)): one for one in built}.values())


def _points(entry: Any, table: Registry[Any]) -> Iterable[Any]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        return [entry]
    return grid(entry, table)


def grid(entry: Mapping[str, Any], table: Registry[Any] | None = None) -> list[dict[str, Any]]:
    """All combinations of the values that are lists, except those of fields that hold sequences themselves.

    Which fields these are is known of plug-ins of ``table``, also of one within another (the parts of a blend).
    """
    known = table is not None and entry.get("name") in table.names()
    keep = _sequence_fields(table.get(entry["name"])) if table is not None and known else frozenset()
    axes = []
    for key, value in entry.items():
        whole = [value] if key in keep or not isinstance(value, list) else value
        points = [point for one in whole for point in _nested(one, key in keep, table)]
        axes.append([(key, point) for point in points])
    return [dict(point) for point in itertools.product(*axes)]


def _nested(value: Any, kept: bool, table: Registry[Any] | None) -> list[Any]:
    return list(grid(value, table)) if isinstance(value, Mapping) and not kept else [value]


def _sequence_fields(plugin: type) -> frozenset[str]:
    hints = typing.get_type_hints(plugin, include_extras=False)
    return frozenset(name for name, hint in hints.items() if _holds_sequence(hint))


def _holds_sequence(hint: Any) -> bool:
    options = [hint, *typing.get_args(hint)]
    return any((typing.get_origin(option) or option) in {tuple, list, dict, Sequence, Mapping} for option in options)
