"""The Grafana dashboard: it is what its generator makes, names metrics that exist, and is what Grafana accepts.

The rules of ``assert_grafana_accepts`` are those of Grafana's classic dashboard model (grafana/grafana,
kinds/dashboard/dashboard_kind.cue): which fields a dashboard, a panel, a place and a variable must have, and which
values they may take.
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from labelbench_ray.execution.metrics import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "dashboards"


def load(path):
    spec = importlib.util.spec_from_file_location(f"dashboards_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load(FOLDER / "grafana" / "generate.py")
DASHBOARD = json.loads((FOLDER / "grafana" / "labelbench.json").read_text())
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]

VARIABLE_TYPES = {"query", "adhoc", "constant", "datasource", "interval", "textbox", "custom", "system"}
COLOUR_MODES = {"thresholds", "palette-classic", "palette-saturated", "continuous-GrYlRd", "fixed"}


def assert_grafana_accepts(dashboard):
    """Raises AssertionError for what Grafana's model refuses."""
    assert 8 <= len(dashboard["uid"]) <= 40
    assert isinstance(dashboard["title"], str)
    assert isinstance(dashboard["editable"], bool)
    assert dashboard["graphTooltip"] in {0, 1, 2}
    assert 36 <= dashboard["schemaVersion"] < 2**16
    assert set(dashboard["time"]) == {"from", "to"}
    assert re.fullmatch(r"\d+[smhd]", dashboard["refresh"])
    for variable in dashboard["templating"]["list"]:
        assert variable["name"]
        assert variable["type"] in VARIABLE_TYPES
        assert variable["hide"] in {0, 1, 2}
    for panel in dashboard["panels"]:
        assert_panel_is_accepted(panel)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def assert_panel_is_accepted(panel):
    assert panel["type"]
    assert panel["id"] > 0
    place = panel["gridPos"]
    assert place["h"] > 0
    assert 0 < place["w"] <= 24
    assert 0 <= place["x"] < 24
    assert place["y"] >= 0
    assert isinstance(panel["transparent"], bool)
    assert panel["repeatDirection"] in {"h", "v"}
    assert isinstance(panel["options"], dict)
    assert isinstance(panel["transformations"], list)
    assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
    assert panel["fieldConfig"]["defaults"]["color"]["mode"] in COLOUR_MODES
    assert set(panel["datasource"]) == {"type", "uid"}
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters) > 0


def test_the_file_is_what_the_generator_makes():
    assert generate.dashboard() == DASHBOARD, "run `python dashboards/grafana/generate.py`"


def test_grafana_accepts_it():
    assert_grafana_accepts(DASHBOARD)


@pytest.mark.parametrize(
    ("where", "value"),
    [(("graphTooltip",), 3), (("panels", 0, "gridPos", "w"), 25), (("panels", 1, "id"), 1), (("uid",), "x")],
    ids=["tooltip", "width", "twice", "uid"],
)
def test_a_dashboard_that_grafana_refuses_would_be_noticed(where, value):
    broken = json.loads(json.dumps(DASHBOARD))
    at = broken
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    with pytest.raises(AssertionError):
        assert_grafana_accepts(broken)


def test_every_metric_it_names_exists_and_all_of_ours_are_on_it():
    named = {name for query in QUERIES for name in re.findall(r"\bray_\w+", query)}
    assert named == {metric.exposed for metric in METRICS}


@pytest.mark.parametrize("query", QUERIES)
def test_every_label_it_asks_for_is_one_of_the_metric(query):
    known = {metric.exposed: {"experiment", *metric.labels} for metric in METRICS}
    for name, selected in re.findall(r"(ray_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)=", selected)) <= known[name]
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        assert set(grouped.split(", ")) <= set.union(*(known[name] for name in re.findall(r"ray_\w+", query)))


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_rated_or_summed_and_brackets_close(query):
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)
    for name in re.findall(r"rate\((ray_\w+)", query):
        assert name.endswith("_total"), f"{name} is no counter"


def test_only_variables_that_are_defined_are_used():
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used <= defined


def test_panels_do_not_overlap():
    cells = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in PANELS
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_the_page_lists_every_metric_as_it_is_exposed():
    table = (FOLDER / "README.md").read_text()
    for metric in METRICS:
        assert f"| `{metric.exposed}` | {metric.kind} | {', '.join(metric.labels) or '-'} | {metric.told} |" in table
