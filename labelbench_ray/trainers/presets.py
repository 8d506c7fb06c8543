"""Presets: trainers whose fields are given by a name, ``trainer: {preset: labelbench/cifar10/flexmatch/linear}``.

A preset is only another way to write a trainer's fields: it is replaced by them before anything is checked, so a trial
is the same whether its file names the preset or spells it out. Fields beside ``preset`` override the preset's.
"""

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from labelbench_ray.errors import SpecError, UnknownNameError
from labelbench_ray.registry import did_you_mean

PUBLISHED_FILE = "labelbench_presets.yaml"
FILE_ENDINGS = (".yaml", ".yml")


def preset_names() -> list[str]:
    """Names of all presets that come with this package."""
    return sorted(_published())


def preset(name: str) -> dict[str, Any]:
    """The fields of a preset: of a name, or of a YAML file such as `labelbench tune` writes.

    Raises UnknownNameError or SpecError.
    """
    if not isinstance(name, str):
        raise SpecError("preset", f"expected a name from `labelbench list preset` or a YAML file, got {name!r}")
    if name.endswith(FILE_ENDINGS):
        return _from_file(Path(name).expanduser())
    if name not in _published():
        raise UnknownNameError("preset", name, did_you_mean(name, _published()))
    return dict(_published()[name])


def with_presets(node: Any) -> Any:
    """Plain data with every mapping that names a preset replaced by the fields it stands for, those beside it on top.

    A mapping whose ``preset`` is a list becomes a list, and so an axis of a grid; within a list it joins the list.
    """
    if isinstance(node, list | tuple):
        return [each for one in node for each in _as_list(one)]
    if not isinstance(node, Mapping):
        return node
    fields = {key: value if key == "preset" else with_presets(value) for key, value in node.items()}
    if "preset" not in fields:
        return fields
    named = fields.pop("preset")
    return [_overridden(one, fields) for one in named] if isinstance(named, list) else _overridden(named, fields)


def _as_list(node: Any) -> list[Any]:
    replaced = with_presets(node)
    return replaced if isinstance(node, Mapping) and isinstance(replaced, list) else [replaced]


def _overridden(name: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    fields = preset(name)
    if beside.get("name", fields["name"]) != fields["name"]:
        raise SpecError("trainer", f"preset {name} is of trainer {fields['name']}, not of {beside['name']}")
    return {**fields, **beside, "algorithm": _algorithm(fields.get("algorithm", "supervised"), beside.get("algorithm"))}


def _algorithm(given: Any, beside: Any) -> Any:
    """Parameters beside a preset join those of its algorithm; another algorithm takes its place."""
    own = {"name": given} if isinstance(given, str) else given
    if isinstance(beside, Mapping) and beside.get("name", own["name"]) == own["name"]:
        return {**own, **beside}
    return given if beside is None else beside


@functools.cache
def _published() -> Mapping[str, Mapping[str, Any]]:
    """``labelbench/DATA SET/ALGORITHM/HEAD``, then what tells it from others: an encoder, a variant."""
    text = resources.files("labelbench_ray.trainers").joinpath(PUBLISHED_FILE).read_text()
    tree = yaml.safe_load(text)
    del tree["shared"]
    return {
        f"labelbench/{dataset}/{algorithm}/{head}": {
            "name": head.partition("/")[0],
            **fields,
            "algorithm": {"name": algorithm, **fields.get("algorithm", {})},
        }
        for dataset, algorithms in tree.items()
        for algorithm, heads in algorithms.items()
        for head, fields in heads.items()
    }


def _from_file(path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(path.read_text())
    except OSError as error:
        told = f"{path} cannot be read ({error.strerror}); give a file that `labelbench tune` wrote, or a name"
        raise SpecError("preset", told) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError("preset", f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
        raise SpecError("preset", f"{path} should hold the fields of one trainer, its `name` among them")
    return fields
