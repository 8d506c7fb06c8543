"""MLflow's own pages over a ledger, in a real browser."""

import os
import re
import socket

import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.tracking import ui
from labelbench_ray.tracking.connection import default_uri
from labelbench_ray.tracking.mlflow import MlflowTracker, connect, find_place
from labelbench_ray.tracking.tracker import sync

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

STUDY = "made up"
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished grid with a failed trial and a report, shown to MLflow."""
    folder = tmp_path_factory.mktemp("results")
    write_grid(folder, strategies=("random", "margin", "badge"), seeds=2)
    write_trial(folder, "coreset", state="failed", error="class 3 has no example; raise `initial`", budgets=[20, 40])
    report = folder / "report.html"
    report.write_text("<h1>Learning curves</h1><script>document.body.append('its scripts run')</script>")
    tracker = MlflowTracker(default_uri(folder), STUDY, Ledger(folder))
    sync(tracker, Ledger(folder).trials(), "failed")
    tracker.attach([report], note="| strategy | test accuracy |\n|---|---|\n| margin | 0.84 ± 0.01 |")
    return folder


@pytest.fixture(scope="module")
def server(results):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ui.running_server(default_uri(results), "127.0.0.1", port) as (base, _):
        yield base


@pytest.fixture
def open_page(browser, request):
    """Opens an address in a fresh page; leaves a picture in the folder LABELBENCH_SCREENSHOTS, if that is set."""
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(WAIT_MS)

    def open_address(address):
        page.goto(address)
        return page

    yield open_address
    if folder := os.environ.get("LABELBENCH_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{request.node.name}.png")
    page.close()


def test_the_link_shows_a_mean_curve_per_strategy(server, results, open_page):
    page = open_page(ui.runs_page(server, find_place(default_uri(results), STUDY)))
    for strategy in ("random", "margin", "badge", "coreset"):
        page.get_by_text(re.compile(rf"Group:\s*{strategy}")).first.wait_for()
    page.get_by_text("test/accuracy").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
    assert page.get_by_text("margin · seed 0").count() == 0  # a row for each strategy, not for each seed
    assert page.get_by_text("system/").count() == 0  # seconds and gibibytes are not what a reader came for


def shown(locator):
    locator.wait_for()
    return locator.is_visible()


def test_without_a_view_trials_are_listed_by_name(server, results, open_page):
    place = find_place(default_uri(results), STUDY)._replace(has_view=False)
    page = open_page(ui.runs_page(server, place))
    for name in ("badge · seed 0", "badge · seed 1", "margin · seed 0", STUDY):
        assert shown(page.get_by_text(name, exact=True).first)


def test_the_report_runs_inside_its_frame(server, results, open_page):
    place = find_place(default_uri(results), STUDY)
    page = open_page(ui.report_page(server, place.experiment_id, place.report_run_id))
    frame = page.frame_locator("iframe").last
    assert shown(frame.get_by_role("heading", name="Learning curves"))
    assert shown(frame.get_by_text("its scripts run"))


def test_a_click_leads_from_the_study_to_its_report(server, results, open_page):
    place = find_place(default_uri(results), STUDY)
    page = open_page(
        f"{server}/#/experiments/{place.experiment_id}/runs/{place.report_run_id}?workflowType=machine_learning"
    )
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("report.html", exact=True).first.click()
    assert shown(page.frame_locator("iframe").last.get_by_role("heading", name="Learning curves"))


def test_the_description_links_to_the_report(server, results, open_page):
    place = find_place(default_uri(results), STUDY)
    page = open_page(
        f"{server}/#/experiments/{place.experiment_id}/runs/{place.report_run_id}?workflowType=machine_learning"
    )
    link = page.get_by_role("link", name="report.html")
    link.wait_for()
    page.goto(page.url.partition("#")[0] + "#" + link.get_attribute("href").partition("#")[2])
    assert shown(page.frame_locator("iframe").last.get_by_role("heading", name="Learning curves"))


def test_the_note_is_a_table_and_a_failed_trial_says_why(server, results, open_page):
    place = find_place(default_uri(results), STUDY)
    runs = f"{server}/#/experiments/{place.experiment_id}/runs"
    page = open_page(f"{runs}/{place.report_run_id}?workflowType=machine_learning")
    assert shown(page.get_by_role("cell", name="0.84 ± 0.01"))

    found = connect(default_uri(results)).search_runs([place.experiment_id], "tags.`labelbench.state` = 'failed'")
    failed = next(run for run in found if run.info.run_name == "coreset · seed 0")
    open_page(f"{runs}/{failed.info.run_id}?workflowType=machine_learning")
    assert shown(page.get_by_text("This trial failed.").first)
    assert shown(page.get_by_text("class 3 has no example").last)


def test_a_server_takes_the_same_grid_twice_without_doubles(server, results):
    trials = Ledger(results).trials()
    for _ in range(2):
        sync(MlflowTracker(server, "through a server", Ledger(results)), trials, "done")
    client, place = connect(server), find_place(server, "through a server")
    runs = client.search_runs([place.experiment_id], "tags.`labelbench.kind` = 'selection'")
    assert len(runs) == len(trials)
    for run in runs:
        rounds = [metric.value for metric in client.get_metric_history(run.info.run_id, "round")]
        assert rounds == list(range(len(rounds)))
