import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import pytest

from labelbench_ray import registry
from labelbench_ray.errors import DuplicateNameError, SpecError, UnknownKeyError, UnknownNameError
from labelbench_ray.identity import placement
from labelbench_ray.registry import Registry, construct, did_you_mean, parameter_names


@dataclass(frozen=True, kw_only=True)
class Fruit:
    name: ClassVar[str] = "fruit"
    colour: Literal["red", "green"] = "red"
    weight: float
    seeds: int = 3
    shelf: str = placement("left")
    ripe: bool = field(default=True, init=False)

    def __post_init__(self):
        if self.weight <= 0:
            raise SpecError("fruit", f"`weight` must be positive, got {self.weight}")


def fruits():
    table = Registry("fruit", "fruits")
    table.add("fruit", f"{__name__}:Fruit")
    table.add("broken", "no_such_package.module:Thing")
    return table


def test_names_are_sorted_and_import_nothing():
    assert fruits().names() == ["broken", "fruit"]


def test_a_plugin_that_cannot_be_imported_breaks_only_itself():
    assert fruits().get("fruit") is Fruit
    with pytest.raises(ModuleNotFoundError):
        fruits().get("broken")


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(UnknownNameError) as error:
        fruits().get("friut")
    assert str(error.value) == "unknown fruit 'friut'. Did you mean: fruit? Run `labelbench list fruit` to see all."
    with pytest.raises(UnknownNameError, match=r"unknown fruit 'zzz'\. Run"):
        fruits().get("zzz")


def test_a_name_twice_is_refused_but_the_same_line_twice_is_not():
    table = fruits()
    table.add("fruit", f"{__name__}:Fruit")
    with pytest.raises(DuplicateNameError, match=r"fruit 'fruit' is registered twice .*rename one"):
        table.add("fruit", "elsewhere:Fruit")


def test_a_plugin_added_after_listing_is_there():
    table = fruits()
    table.names()
    table.add("late", f"{__name__}:Fruit")
    assert "late" in table.names()
    assert table.get("late") is Fruit


def entry_points_are(monkeypatch, *points):
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [EntryPoint(name, value, group) for name, value in points if group == "labelbench_ray.fruits"],
    )


def test_other_packages_add_theirs_by_entry_point(monkeypatch):
    entry_points_are(monkeypatch, ("foreign", f"{__name__}:Fruit"), ("fruit", f"{__name__}:Fruit"))
    assert fruits().names() == ["broken", "foreign", "fruit"]
    assert fruits().get("foreign") is Fruit


def test_an_entry_point_may_not_take_a_name(monkeypatch):
    entry_points_are(monkeypatch, ("fruit", "elsewhere:Fruit"))
    with pytest.raises(DuplicateNameError):
        fruits().names()


@pytest.mark.parametrize("spec", [{"name": "fruit", "weight": 2}, {"name": "fruit", "weight": "2", "colour": "red"}])
def test_builds_from_a_mapping_and_reads_numbers_written_as_text(spec):
    made = fruits().build(spec)
    assert made == Fruit(weight=2.0)
    assert isinstance(made.weight, float)


def test_builds_from_a_name_and_passes_through_what_is_made():
    made = Fruit(weight=1)
    assert fruits().build(made) is made
    with pytest.raises(SpecError, match="fruit fruit: `weight`"):
        fruits().build("fruit")


@pytest.mark.parametrize("spec", [None, 3, ["fruit"], {"weight": 1}, {"name": 3}, Fruit])
def test_another_form_is_refused(spec):
    with pytest.raises(SpecError, match="trial: expected a name or"):
        fruits().build(spec, where="trial")


def test_an_unknown_key_suggests_near_ones_and_lists_all():
    with pytest.raises(UnknownKeyError) as error:
        fruits().build({"name": "fruit", "wieght": 1})
    text = "fruit fruit: unknown key 'wieght'. Did you mean: weight? Known keys: colour, weight, seeds, shelf."
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weight": "heavy"}, "fruit: `weight` .*got 'heavy'"),
        ({"weight": 1, "seeds": 1.5}, "`seeds` .*got 1.5"),
        ({"weight": 1, "colour": "blue"}, "`colour` .*'red' or 'green', got 'blue'"),
        ({"weight": -1}, "fruit: `weight` must be positive, got -1"),
        ({"weight": "x", "seeds": "y"}, r"\(and 1 more\)"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(parameters, message):
    with pytest.raises(SpecError, match=message) as error:
        construct(Fruit, parameters, "fruit")
    assert "\n" not in str(error.value)


def test_parameters_are_the_fields_a_user_may_set():
    assert parameter_names(Fruit) == ["colour", "weight", "seeds", "shelf"]


def test_far_words_suggest_nothing():
    assert did_you_mean("margin", ["badge"]) == ""
    assert did_you_mean("margn", ["margin", "badge"]) == " Did you mean: margin?"


def test_listing_a_kind_imports_no_heavy_package():
    program = (
        "import sys; from labelbench_ray.datasets.base import DATASETS; DATASETS.names();"
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'pyarrow', 'ray', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
