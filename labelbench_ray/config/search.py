"""What `labelbench tune` searches: for each of some fields of a trainer, the values it may take.

``search: {learning_rate: {log_uniform: [1.0e-4, 0.1]}, epochs: {choice: [10, 20]}, algorithm: {p_cutoff: ...}}``
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from labelbench_ray.errors import SpecError, UnknownKeyError
from labelbench_ray.registry import construct, did_you_mean, parameter_names
from labelbench_ray.trainers.base import Trainer

DimensionKind = Literal["uniform", "log_uniform", "integers", "choice"]
KINDS: tuple[DimensionKind, ...] = get_args(DimensionKind)
FORMS = " | ".join(f"{kind}: [...]" for kind in KINDS)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values of one field: between two borders, both included, or one of a list."""

    kind: DimensionKind
    values: tuple[Any, ...]
    """The two borders, or the list."""

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that a trainer must take if it takes all: of a range also one between, which is not whole."""
        if self.kind not in {"uniform", "log_uniform"}:
            return self.values
        low, high = self.values
        return (low, low + (high - low) / math.e, high)


Space = dict[str, Dimension]
"""By field; a field of a part is written ``algorithm.p_cutoff``."""


def default_space(trainer: Trainer) -> Space:
    """What is searched where the file says nothing: step size, weight decay and length, in the ranges people use."""
    decay = Dimension(kind="log_uniform", values=(1e-6, 0.1))
    if getattr(trainer, "optimizer", None) == "lbfgs":  # it finds its steps itself, and ends at the optimum
        return {"weight_decay": Dimension(kind="log_uniform", values=(1e-4, 1.0))}
    if trainer.needs.images:
        rate, epochs = Dimension(kind="log_uniform", values=(1e-6, 1e-3)), (5, 10, 20)
    else:
        rate, epochs = Dimension(kind="log_uniform", values=(1e-4, 0.1)), (10, 20, 40)
    return {"learning_rate": rate, "weight_decay": decay, "epochs": Dimension(kind="choice", values=epochs)}


def read_space(spec: Any, inside: str = "") -> Space:
    """A space from plain data. Raises SpecError naming the field."""
    if not isinstance(spec, Mapping) or not spec:
        raise SpecError("search", f"expected `field: {{{FORMS}}}`, got {spec!r}")
    space: Space = {}
    for field, told in spec.items():
        if isinstance(told, Mapping) and told and all(isinstance(value, Mapping) for value in told.values()):
            space |= read_space(told, f"{inside}{field}.")
        else:
            space[f"{inside}{field}"] = _dimension(f"{inside}{field}", told)
    return space


def check_space(space: Space, trainer: Trainer) -> None:
    """Raise SpecError or UnknownKeyError where a trainer cannot take a value of its space."""
    for field, dimension in space.items():
        for value in dimension.probes:
            with_values(trainer, {field: value}, "search")


def with_values(trainer: Any, values: Mapping[str, Any], where: str | None = None) -> Any:
    """A copy of a trainer (or of a part of it) with some fields changed. Raises SpecError or UnknownKeyError."""
    own = {field: value for field, value in values.items() if "." not in field}
    nested: dict[str, dict[str, Any]] = {}
    for field in set(values) - set(own):
        part, _, rest = field.partition(".")
        nested.setdefault(part, {})[rest] = values[field]
    where = where or f"trainer {trainer.name}"
    fields = {name: getattr(trainer, name) for name in parameter_names(type(trainer))}
    for part, inner in nested.items():
        if not dataclasses.is_dataclass(fields.get(part)):
            parts = [name for name, value in fields.items() if dataclasses.is_dataclass(value)]
            raise UnknownKeyError(where, part, did_you_mean(part, parts), ", ".join(parts))
        own[part] = with_values(fields[part], inner, f"{where}: {part}")
    return construct(type(trainer), {**fields, **own}, where)


def _dimension(field: str, told: Any) -> Dimension:
    if not isinstance(told, Mapping) or len(told) != 1 or next(iter(told)) not in KINDS:
        raise SpecError("search", f"`{field}` should be {{{FORMS}}}, got {told!r}")
    ((kind, values),) = told.items()
    if kind == "choice":
        if not isinstance(values, list | tuple) or not values:
            raise SpecError("search", f"`{field}` should choose from a list, got {values!r}")
        return Dimension(kind=kind, values=tuple(_number_or_same(value) for value in values))
    return Dimension(kind=kind, values=_borders(field, kind, values))


def _borders(field: str, kind: DimensionKind, values: Any) -> tuple[Any, ...]:
    borders = [_number_or_same(value) for value in values] if isinstance(values, list | tuple) else []
    if len(borders) != 2 or not all(_is_number(value) for value in borders):
        raise SpecError("search", f"`{field}` needs two numbers as borders, got {values!r}")
    if not borders[0] < borders[1] or (kind == "log_uniform" and borders[0] <= 0):
        least = "positive numbers, " if kind == "log_uniform" else ""
        raise SpecError("search", f"`{field}` needs {least}the lower border first, got {values!r}")
    if kind == "integers" and not all(isinstance(value, int) for value in borders):
        raise SpecError("search", f"`{field}` needs whole numbers as borders, got {values!r}")
    return tuple(borders) if kind == "integers" else tuple(float(value) for value in borders)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_same(value: Any) -> Any:
    """YAML reads ``1e-4``, which has no point, as text."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
