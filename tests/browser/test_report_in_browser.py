"""The report in a real browser: opened as a file, in a frame that allows scripts alone, dark, and narrow."""

import html
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from ledgers import write_grid, write_trial
from PIL import Image

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.reporting.pictures import Picture, pool_of, write_picture
from labelbench_ray.reporting.write import write_report

pytestmark = pytest.mark.browser

AXE = Path(os.environ.get("AXE") or ".venv/node_modules/axe-core/axe.min.js")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    write_grid(results, ["random", "badge", "<b>odd</b>"], seeds=3)
    return write_report(results).html


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def page(browser, complaints):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    yield opened
    opened.close()


def legend(frame):
    frame.wait_for_selector("#figure-0 .legendtext")
    return [text.text_content() for text in frame.query_selector_all("#figure-0 .legendtext")]


def test_opened_as_a_file(page, report, complaints):
    page.goto(report.as_uri())
    assert legend(page) == ["<b>odd</b>", "badge", "random"]
    assert page.locator("table").count() >= 4
    assert complaints == []


def test_another_measure_can_be_chosen(page, report, complaints):
    page.goto(report.as_uri())
    page.wait_for_selector("#figure-0 .ytitle")
    assert page.text_content("#figure-0 .ytitle") == "Test accuracy, %"
    page.select_option("#choice-0", label="Pool annotation macro F1")
    assert page.text_content("#figure-0 .ytitle") == "Pool annotation macro F1, %"
    assert complaints == []


def test_hovering_a_point_tells_mean_interval_and_seeds(page, report):
    page.goto(report.as_uri())
    page.wait_for_selector("#figure-0 .scatterlayer .point")
    page.locator("#figure-0 .scatterlayer .trace").last.locator(".point").nth(2).hover(force=True)
    text = page.locator(".hoverlayer").text_content()
    assert "random" in text
    assert "3 seeds" in text
    assert "[" in text


def test_inside_a_frame_that_allows_scripts_alone(page, report, complaints):
    page.set_content(
        '<iframe sandbox="allow-scripts" style="width:1000px;height:800px" '
        f'srcdoc="{html.escape(report.read_text())}"></iframe>'
    )
    frame = page.frames[1]
    assert legend(frame) == ["<b>odd</b>", "badge", "random"]
    assert complaints == []


def wait_until(true, seconds=10.0):
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.05)


def test_dark_and_light_follow_the_reader(page, report):
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    legend(page)
    background = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.legendtext')).fill"
    dark = page.evaluate(background), page.evaluate(ink)
    page.emulate_media(color_scheme="light")
    wait_until(lambda: page.evaluate(ink) != dark[1])  # not wait_for_function: the page's policy forbids its polling
    assert page.evaluate(background) == "rgb(255, 255, 255)" != dark[0]


def test_a_narrow_page_does_not_scroll_sideways(page, report):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(report.as_uri())
    legend(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_dark_page_prints_in_light_colours_with_every_figure(page, report):
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    legend(page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.legendtext')).fill") == "rgb(29, 31, 35)"
    assert page.locator(".plot:not([data-drawn])").count() == 0


def test_a_name_in_the_legend_hides_its_curve(page, report, complaints):
    page.goto(report.as_uri())
    legend(page)
    drawn = "document.querySelectorAll('#figure-0 .scatterlayer .trace .lines path').length"
    before = page.evaluate(drawn)
    page.locator("#figure-0 .legendtoggle").first.click()
    wait_until(lambda: page.evaluate(drawn) < before)
    assert complaints == []


def test_scores_against_time_and_classes_that_were_bought(page, tmp_path, complaints):
    for strategy, labels in (("random", [0, 1, 1, 2]), ("badge", [0, 0, 0, 2]), ("<b>odd</b>", [1, 1, 1, 1])):
        for seed in range(2):
            write_trial(tmp_path, strategy, seed, bought=[(0, [9], [0]), (1, range(4), labels)])
    page.goto(write_report(tmp_path).html.as_uri())
    page.locator("#figure-1").scroll_into_view_if_needed()
    page.wait_for_selector("#figure-1 .heatmaplayer image")
    assert page.locator("#figure-1 .ytick").all_text_contents() == ["<b>odd</b>", "badge", "random"]
    page.locator("#figure-2").scroll_into_view_if_needed()
    page.wait_for_selector("#figure-2 .xtitle")
    wait_until(lambda: page.text_content("#figure-2 .xtitle") == "Seconds of a trial so far")
    page.select_option("#choice-2", label="Seconds of choosing so far")
    wait_until(lambda: page.text_content("#figure-2 .xtitle") == "Seconds of choosing so far")
    assert page.locator("svg.ranks text").filter(has_text="<b>odd</b>").count() == 1
    assert complaints == []


@pytest.fixture
def illustrated(tmp_path):
    """A report with a map of eight rows and an image of one."""
    for strategy, second in (("random", [4, 5]), ("badge", [6])):
        write_trial(tmp_path, strategy, bought=[(0, [0, 1], [0, 1]), (1, second, [1] * len(second)), (2, [7], [0])])
    image = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(image, "WEBP")
    picture = Picture(
        seed=0,
        class_names=("cat", "<i>dog</i>"),
        anchors=(("cat", 0.2, 0.2), ("<i>dog</i>", 0.8, 0.8)),
        ids=np.arange(8),
        places=np.random.default_rng(0).random((8, 2)),
        is_landmark=np.arange(8) < 4,
        images={5: image.getvalue()},
    )
    write_picture(tmp_path, pool_of(Ledger(tmp_path).trials()[0].description()["identity"]), picture)
    return write_report(tmp_path).html


def test_the_slider_goes_from_batch_to_batch(page, illustrated, complaints):
    page.goto(illustrated.as_uri())
    slider, told, sheet = page.get_by_role("slider", name="Batch"), page.locator("output"), page.locator(".sheet img")
    slider.scroll_into_view_if_needed()
    bought = ".trace:nth-child(3) .point"
    figure = page.locator(".plot.map")
    figure.locator(bought).first.wait_for()
    assert told.text_content() == "1 of 2: 1 row", "badge bought one row"
    assert figure.locator(".trace:nth-child(1) .point").count() == 4
    assert sorted(figure.locator(".annotation-text").all_text_contents()) == ["<i>dog</i>", "cat"]
    page.get_by_label("Strategy", exact=True).select_option(label="random")
    assert told.text_content() == "1 of 2: 2 rows (1 as images)"
    assert [image.get_attribute("alt") for image in sheet.all()] == ["row 5"]
    wait_until(lambda: sheet.first.evaluate("image => image.naturalWidth") == 4)
    assert page.locator(".sheet li").inner_text() == "<i>dog</i>"
    wait_until(lambda: figure.locator(bought).count() == 2)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert told.text_content() == slider.get_attribute("aria-valuetext") == "2 of 2: 1 row"
    wait_until(lambda: figure.locator(bought).count() == 1)
    assert figure.locator(".trace:nth-child(2) .point").count() == 4, "two batches before"
    assert sheet.count() == 0
    assert complaints == []


def test_a_table_says_what_the_figure_draws(page, report):
    page.goto(report.as_uri())
    legend(page)
    row = page.get_by_role("table", name="Test at 100 labels").get_by_role("row").filter(has_text="badge")
    said = float(row.get_by_role("cell").nth(2).inner_text().split(" ±")[0])
    figures = page.evaluate("JSON.parse(document.getElementById('figures').textContent)")
    badge = [series["name"] for series in figures[0]["series"]].index("badge")
    assert said == pytest.approx(figures[0]["choices"][0]["curves"][badge]["mean"][-1], abs=0.005)


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: `make test-pages` does it where npm is")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
@pytest.mark.parametrize("which", ["report", "illustrated"])
def test_axe_finds_nothing_to_mend(page, request, which, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(request.getfixturevalue(which).as_uri())
    legend(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # draws what is further down the page
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert len(found["passes"]) > 20, "it did look"
