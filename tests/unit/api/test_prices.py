"""The price table, and what part of a machine a trial takes."""

import datetime

import pytest
import yaml
from documentation import REPOSITORY, blocks

from labelbench_ray.api.forecasting.prices import Cost, Prices, cost_of, load_prices, machines_per_trial
from labelbench_ray.errors import SpecError, UnknownKeyError
from labelbench_ray.execution.preflight import GPU, Unit

MACHINE = {
    "name": "m", "provider": "p", "cpus": 8, "memory_gib": 32, "on_demand": 2, "spot": 0.5,
    "date": datetime.date(2026, 1, 2), "source": "s",
}  # fmt: skip


def write(folder, **changes):
    file = folder / "prices.yaml"
    file.write_text(yaml.safe_dump({"currency": "EUR", "machines": [MACHINE | changes]}))
    return file


def test_the_table_that_is_shipped_says_when_and_where_each_price_was_read():
    prices = load_prices()
    assert len(prices.machines) > 3
    assert all(one.source and one.date and 0 < (one.spot or one.on_demand) <= one.on_demand for one in prices.machines)
    assert {bool(one.gpus) for one in prices.machines} == {True, False}


def test_a_cost_goes_from_spot_to_on_demand(tmp_path):
    (machine,) = load_prices(write(tmp_path)).machines
    assert cost_of(machine, 3.0) == Cost(1.5, 6.0)
    (fixed,) = load_prices(write(tmp_path, spot=None)).machines
    assert cost_of(fixed, 3.0) == Cost(6.0, 6.0)


def test_the_table_in_the_page_is_one(tmp_path):
    (example,) = blocks(REPOSITORY / "labelbench_ray/api/forecasting/README.md", "yaml")
    (tmp_path / "prices.yaml").write_text(example)
    assert load_prices(tmp_path / "prices.yaml").machines[0].gpus == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"on_demand": -1}, "on_demand"),
        ({"spot": -0.1}, "spot"),
        ({"cpus": 0}, "cpus"),
        ({"date": "soon"}, "date"),
        ({"gpus": -1}, "gpus"),
    ],
)
def test_a_wrong_value_names_the_machine_and_the_field(tmp_path, changes, told):
    with pytest.raises(SpecError, match=f"machine 1: .*{told}"):
        load_prices(write(tmp_path, **changes))


def test_a_wrong_key_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UnknownKeyError, match="Did you mean: on_demand"):
        load_prices(write(tmp_path, on_demnd=1.0))


@pytest.mark.parametrize(
    "text", ["currency: USD", "currency: USD\nmachines: 3", "- 1", "a: [", "currency: USD\nmachines: []"]
)
def test_what_is_no_table_is_refused_naming_the_file(tmp_path, text):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"^prices"):
        load_prices(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load_prices(tmp_path / "none.yaml")


def test_a_name_twice_and_a_name_that_is_not_there_are_refused():
    with pytest.raises(SpecError, match="'m' is listed twice"):
        Prices(currency="EUR", machines=[MACHINE, MACHINE])
    with pytest.raises(SpecError, match=r"'c6a.4xlage' is not in the price table. Did you mean: c6a.4xlarge"):
        load_prices().only("c6a.4xlage")


NODE = {"CPU": 8.0, GPU: 1.0, "memory": 32.0 * 2**30}
HALF_GPU = {"CPU": 1.0, GPU: 0.5}


@pytest.mark.parametrize(
    ("unit", "part"),
    [
        (Unit("inline", {"CPU": 1.0}), 1 / 8),
        (Unit("inline", {"CPU": 3.0}), 1 / 2),  # two fit, two processors are idle and paid for
        (Unit("inline", HALF_GPU), 1 / 2),
        (Unit("inline", {"CPU": 1.0, "memory": 16.0 * 2**30}), 1 / 2),
        (Unit("coordinated", {}, ({"CPU": 1.0, GPU: 1.0},) * 3), 3.0),
        (Unit("sharded", {"CPU": 4.0}, ({"CPU": 4.0},) * 2), 2.0),  # one machine does not hold three bundles of 4
        (Unit("inline", {"CPU": 1.0, "accelerator_type:A100": 0.1}), 1 / 8),
        (Unit("inline", {"CPU": 9.0}), None),
        (Unit("inline", {"CPU": 1.0, GPU: 2.0}), None),
    ],
)
def test_a_trial_takes_its_part_of_a_full_machine_or_several(unit, part):
    assert machines_per_trial(unit, NODE) == part
