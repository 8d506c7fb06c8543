"""What machines cost: a table that users edit, and what a trial costs on a machine that is packed with such trials."""

import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from pydantic import Field, field_validator, model_validator

from labelbench_ray.config.parts import Part, checked
from labelbench_ray.errors import SpecError
from labelbench_ray.execution.preflight import GPU, MEMORY, Node, Unit, concurrency
from labelbench_ray.registry import did_you_mean

EXAMPLES = Path(__file__).with_name("prices.yaml")


class Machine(Part):
    """A machine that can be rented, and its price an hour."""

    name: str
    provider: str
    cpus: float = Field(gt=0)
    gpus: int = Field(0, ge=0)
    gpu: str | None = None
    """Which GPU, for people."""
    memory_gib: float = Field(gt=0)
    on_demand: float = Field(ge=0)
    spot: float | None = Field(None, ge=0)
    """May be taken away at any moment; none is offered when absent."""
    date: datetime.date
    """When the prices were looked up."""
    source: str

    @field_validator("cpus", "memory_gib", "on_demand", "spot", mode="before")
    @classmethod
    def _whole_numbers_too(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def node(self) -> Node:
        """As a node of a cluster."""
        return {"CPU": self.cpus, GPU: float(self.gpus), MEMORY: self.memory_gib * 2**30}

    def hours(self, unit: Unit, seconds: float) -> float | None:
        """Hours of such machines for one trial, if each is filled with such trials; None where none can be."""
        per_trial = machines_per_trial(unit, self.node)
        return None if per_trial is None else per_trial * seconds / 3600


class Prices(Part):
    """A price table."""

    currency: str = Field(min_length=1)
    machines: tuple[Machine, ...] = Field(min_length=1)

    @field_validator("machines", mode="before")
    @classmethod
    def _machines(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise SpecError("prices", f"`machines` should be a list, got {value!r}")
        return tuple(checked(Machine, one, f"prices: machine {index + 1}") for index, one in enumerate(value))

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [machine.name for machine in self.machines]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SpecError("prices", f"machine {twice!r} is listed twice; rename one")
        return self

    def only(self, name: str) -> "Prices":
        """The table with one machine. Raises SpecError for one that it does not have."""
        names = [machine.name for machine in self.machines]
        if name not in names:
            told = f"{name!r} is not in the price table.{did_you_mean(name, names)} It has: {', '.join(names)}"
            raise SpecError("--machine", told)
        return Prices(currency=self.currency, machines=(self.machines[names.index(name)],))


class Cost(NamedTuple):
    """Money, from the lowest to the highest price."""

    low: float
    high: float


def load_prices(path: Path | None = None) -> Prices:
    """A price table; the examples that are shipped when no file is named. Raises SpecError or UnknownKeyError."""
    path = path or EXAMPLES
    try:
        told = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise SpecError(f"prices {path}", f"cannot be read ({reason}); give a YAML file") from None
    prices: Prices = checked(Prices, told, f"prices {path}")
    return prices


def cost_of(machine: Machine, hours: float) -> Cost:
    """Of so many hours of a machine: at spot prices, where there are any, to on demand."""
    return Cost(hours * (machine.on_demand if machine.spot is None else machine.spot), hours * machine.on_demand)


def machines_per_trial(unit: Unit, node: Node) -> float | None:
    """The part of a machine that one trial takes when the machine is full of them, or how many a group needs.

    None where no number of such machines can hold it. Custom resources are left out: price tables do not know them.
    """
    known = Unit(unit.layout, _known(unit.trial), tuple(_known(worker) for worker in unit.workers))
    if not all(concurrency(Unit("inline", bundle), [node], 1) for bundle in known.bundles):
        return None
    for count in range(1, len(known.bundles) + 1):
        held = concurrency(known, [node] * count)
        if held:
            return count / held
    return None


def _known(bundle: Any) -> dict[str, float]:
    return {name: amount for name, amount in bundle.items() if name in ("CPU", GPU, MEMORY)}
