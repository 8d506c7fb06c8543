"""The report in a real browser: opened as a file, in a frame that allows scripts alone, dark, and narrow."""

import html
import time

import pytest
from ledgers import write_grid

from labelbench_ray.reporting.write import write_report

pytestmark = pytest.mark.browser


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
    frame.wait_for_selector(".legendtext")
    return [text.text_content() for text in frame.query_selector_all(".legendtext")]


def test_opened_as_a_file(page, report, complaints):
    page.goto(report.as_uri())
    assert legend(page) == ["<b>odd</b>", "badge", "random"]
    assert page.locator("table").count() >= 4
    assert complaints == []


def test_another_measure_can_be_chosen(page, report, complaints):
    page.goto(report.as_uri())
    page.wait_for_selector(".ytitle")
    assert page.text_content(".ytitle") == "Test accuracy, %"
    page.select_option("select", label="Pool annotation macro F1")
    assert page.text_content(".ytitle") == "Pool annotation macro F1, %"
    assert complaints == []


def test_hovering_a_point_tells_mean_interval_and_seeds(page, report):
    page.goto(report.as_uri())
    page.wait_for_selector(".scatterlayer .point")
    page.locator(".scatterlayer .trace").last.locator(".point").nth(2).hover(force=True)
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
