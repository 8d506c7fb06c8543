"""How the command `plan` shows what a grid takes: stages, the total, and what selecting with each model costs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from labelbench_ray.cli.app import table

if TYPE_CHECKING:
    from labelbench_ray.api.forecasting.figures import Figure
    from labelbench_ray.api.forecasting.forecast import Forecast
    from labelbench_ray.api.forecasting.prices import Cost
    from labelbench_ray.api.forecasting.selection_costs import SelectionCost
    from labelbench_ray.api.forecasting.stage import Bytes, Stage

UNKNOWN = "unknown"


def print_forecast(told: "Forecast") -> None:
    """Nothing for a grid with nothing left to do, but for the table of models."""
    if not told.plan.nothing_to_do:
        _print_stages(told)
        _print_total(told)
    if any(one.figure.known or one.labels is not None for one in told.selection_costs):
        _print_selection_costs(told)


def _print_stages(told: "Forecast") -> None:
    print()
    head = [
        "stage",
        "to do",
        "done",
        "one takes",
        "at a time",
        "all take",
        "CPU h",
        "GPU h",
        "memory",
        "disk",
        "scratch",
    ]
    table([*head, told.currency, "times are"], [_stage_row(told, stage) for stage in told.stages])
    stored = [part for stage in told.stages for part in (stage.disk, stage.scratch)]
    missing = list(dict.fromkeys(name for part in stored for name in part.unknown))
    if missing:
        print(f"disk does not count: {', '.join(missing)}")


def _stage_row(told: "Forecast", stage: "Stage") -> list[str]:
    figure = stage.figure
    return [
        stage.name,
        f"{stage.num_to_do} {stage.of}" + (f", {stage.num_rounds} rounds" if stage.of == "trials" else ""),
        str(stage.num_done),
        "" if not stage.work or stage.name == "embed" else _of(stage.one, duration(stage.one.seconds)),
        str(stage.at_a_time) if stage.at_a_time else "none fits" if stage.work else "",
        _of(figure, "?" if stage.wall_s is None else duration(stage.wall_s)),
        hours(figure, stage.hours("CPU")),
        hours(figure, stage.hours("GPU")),
        "" if stage.memory_gib is None else f"{stage.memory_gib:.1f} GiB",
        _stored(stage.disk),
        _stored(stage.scratch),
        _of(figure, money(told.cost_of_stage(stage))),
        origins(figure.origins),
    ]


def _print_total(told: "Forecast") -> None:
    from labelbench_ray.execution.preflight import in_words

    figure = told.figure
    where = ", ".join(f"{count} x {in_words(node)}" if count > 1 else in_words(node) for node, count in _counted(told))
    time = "does not run on" if told.wall_s is None else f"{_of(figure, duration(told.wall_s))} on"
    print(f"\nin all: {time} {where}")
    if told.machine is None:
        print("cost: no machine of the price table can hold every stage; name a table that has one with --prices")
    elif figure.known:
        machine, cost = told.machine, told.costs[0][1]
        print(
            f"cost: {_of(figure, money(cost))} {told.currency} on {machine.name} ({machine.provider}, prices of "
            f"{machine.date}), each filled with trials and as fast as where they were measured"
        )
    if not figure.complete:
        print("unknown: no measured round fits; --calibrate measures first rounds here, --history DIR names others")


def _print_selection_costs(told: "Forecast") -> None:
    """Names of models are long: they stand at the end."""
    places: dict[tuple[str, str, int], list[SelectionCost]] = {}
    for one in told.selection_costs:
        places.setdefault((one.dataset, one.encoder, one.num_labeled), []).append(one)
    for (dataset, encoder, num_labeled), rows in places.items():
        print(f"\nselecting {num_labeled} labels of {dataset} through {encoder}, one trial (as LabelBench's table 2):")
        money_of = [f"{told.currency} {what}" for what in ("computing", "labels", "in all")]
        head = ["trainings", "take", "CPU h", "GPU h", *money_of, "selecting with", "times are"]
        table(head, [_cost_row(one) for one in rows])


def _cost_row(one: "SelectionCost") -> list[str]:
    figure = one.figure
    return [
        str(one.num_trainings),
        _of(figure, duration(figure.seconds)),
        hours(figure, one.cpu_hours),
        hours(figure, one.gpu_hours),
        _of(figure, money(one.compute)),
        "" if one.labels is None else f"{one.labels:,.2f}",
        "" if one.labels is None else _of(figure, money(one.total)),
        one.selecting_with,
        origins(figure.origins),
    ]


def _counted(told: "Forecast") -> list[tuple[Mapping[str, float], int]]:
    counted: list[tuple[Mapping[str, float], int]] = []
    for node in told.nodes:
        shown = {name: amount for name, amount in node.items() if amount}
        if counted and counted[-1][0] == shown:
            counted[-1] = (shown, counted[-1][1] + 1)
        else:
            counted.append((shown, 1))
    return counted


def _of(figure: "Figure", text: str) -> str:
    """``> 3 h`` where a part is unknown, ``unknown`` where all is, nothing where there is nothing to do."""
    if not figure.origins:
        return ""
    return UNKNOWN if not figure.known else text if figure.complete else f"> {text}"


def origins(counts: Mapping[str, int]) -> str:
    """``measured here``, or how many figures are what."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def duration(seconds: float) -> str:
    """Two digits of the unit that suits."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{_digits(seconds / length)} {unit}"
    return f"{_digits(seconds)} s"


def hours(figure: "Figure", amount: float) -> str:
    """Such as ``0.25`` or ``> 140``; a plain 0 where trials hold none of it."""
    return "0" if figure.known and not amount else _of(figure, _digits(amount))


def money(cost: "Cost | None") -> str:
    """A range, or one figure where both ends are told alike."""
    if cost is None:
        return "?"
    low, high = (_digits(one) if one < 100 else f"{one:,.0f}" for one in cost)
    return low if low == high else f"{low} to {high}"


def _digits(value: float) -> str:
    """Two digits that count, without an exponent."""
    return f"{value:.0f}" if value >= 100 or not value else f"{float(f'{value:.1e}'):.6f}".rstrip("0").rstrip(".")


def _stored(stored: "Bytes") -> str:
    from labelbench_ray.strategies.select import binary_size

    if stored.known:
        return ("> " if stored.unknown else "") + binary_size(stored.known)
    return UNKNOWN if stored.unknown else ""
