"""The page: parsed, with names that try to be more than text, and in a browser."""

import base64
import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, chromium
from kit import EXAMPLE, call, loaded_run, strict
from test_report import ATTACKS, BATCH, CONFIG, NONE, Page, hostile, write

from bncompare.config import Metric
from bncompare.errors import printable
from bncompare.figures.curves import experiment_curves
from bncompare.report import chapters, to_html, to_index
from bncompare.report.svg import drawing_of, on_dark, page_colour
from bncompare.runs import read_runs

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "ul", "li", "a", "article", "h1", "h2"),
    *("h3", "p", "div", "strong", "span", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("details", "summary", "pre", "code", "footer", "br", "script"),
    *("svg", "defs", "g", "path", "use", "clippath", "rect", "image"),  # as matplotlib draws
}  # fmt: skip


def assert_inert(text: str) -> Page:
    """No handler, no address but places in the page and pictures within it, one script, which the policy names."""
    page = Page(text)
    assert set(page.tags) <= TAGS
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "action", "formaction", "background", "ping"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#") or (tag == "image" and value.startswith("data:image/png;base64,")), value
        assert "url(" not in value.replace("url(#", ""), value
    blocks = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [len(block) < 20_000 for block in blocks] == [True]
    digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
    policies = [value for tag, name, value in page.attributes if "default-src" in value]
    assert policies == [
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    ]
    others = [value for tag, name, value in page.attributes if tag == "script"]
    assert others == ["application/json"] * page.tags.count("article")
    return page


def text_of(runs: Path) -> str:
    page = runs.parent / "page.html"
    ended = call("report", runs, "--html", page)
    assert (ended.code, ended.out, ended.err) == (0, f"{page}\n", "")
    return page.read_text(encoding="utf-8")


def data_of(text: str) -> list[Any]:
    return [strict(block) for block in re.findall(r'<script type="application/json">(.*?)</script>', text)]


def test_page(tmp_path: Path) -> None:
    """Verdict, overview, claims, figures, tables, environment, how to reproduce, in order; figures have a text."""
    page = assert_inert(text_of(write(tmp_path)))
    order = [
        "Which is better: no norm or BatchNorm?",
        "no norm 0.725 test loss",
        "BatchNorm is ahead of no norm by 0.415",
        "Loss and accuracy over epochs; ",
        "batch is lower",
        "Figures",
        "0.300 ± 0.008",
        "Pairs of variants",
        "Settings that differ",
        "torch2.9.0",
        "bncompare train x.yaml",
        "statement: batch is lower",
        "Variants are compared seed by seed",
    ]
    places = [page.text.index(text) for text in order]
    assert places == sorted(places)
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == page.tags.count("svg") == page.tags.count("figure") >= 3
    assert labels[0].startswith("Loss and accuracy over epochs; ")
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    links = {value[1:] for _, name, value in page.attributes if name in ("href", "xlink:href") and value[0] == "#"}
    links |= {place for _, _, value in page.attributes for place in re.findall(r"url\(#([^)]*)\)", value)}
    assert links <= set(ids)


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    """The same runs give the same bytes: a page can be kept in git."""
    runs, _ = read_runs([write(tmp_path)])
    assert to_html(chapters(runs)) == to_html(chapters(runs))


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    """Nothing that a run folder holds becomes a tag, an attribute or an address; marks that turn text are gone."""
    text = text_of(hostile(tmp_path))
    page = assert_inert(text)
    for attack in ATTACKS:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in attack)
        assert shown in page.text
    assert len({name for data in data_of(text) for name in data["variants"]} & set(map(printable, ATTACKS))) >= 4
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text
    assert "49" not in page.text.split("{{ 7 * 7 }}")[1][:5]


def test_several_experiments(tmp_path: Path) -> None:
    """Each experiment has a part of its own; the page begins with their list."""
    runs = write(tmp_path)
    shutil.copytree(EXAMPLE, runs / "example")
    page = assert_inert(text_of(runs))
    assert page.tags.count("article") == 2
    assert [value for tag, _, value in page.attributes if tag == "a"] == ["#experiment-1", "#experiment-2"]
    example = next(chapter for chapter in chapters(read_runs([runs])[0]) if chapter.experiment.name == "example")
    assert example.headline.startswith("2 of 2 claims not supported (preliminary: 3 seeds); ")
    assert example.headline in page.text


# ---------------------------------------------------------------- figures


def test_the_data_are_those_of_the_runs(tmp_path: Path) -> None:
    """For the script: each evaluation of each seed of metrics.csv, and the means between them."""
    (chapter,) = chapters(read_runs([write(tmp_path)])[0])
    (data,) = data_of(to_html([chapter]))
    assert data["variants"] == ["no norm", "BatchNorm"]
    found = {}
    for figure in data["figures"]:
        for panel in figure["panels"]:
            assert (figure["x"], panel["x"]) == ("epoch", [1.0, 2.0])
            for series in panel["series"]:
                variant = data["variants"][series["variant"]]
                found[panel["label"].split(" (")[0], variant] = series["seeds"]
                for i in range(len(panel["x"])):
                    values = [seed[i] for seed in series["seeds"]]
                    assert series["mean"][i] == pytest.approx(sum(values) / len(values), rel=1e-4)
    wanted = {
        (words, variant): [run.metrics[name] for run in chapter.experiment.runs if run.variant == variant]
        for words, name in (("training loss", "train/loss"), ("validation loss", "val/loss"))
        for variant in data["variants"]
    }
    assert found == wanted


@pytest.mark.parametrize(("metric", "is_accuracy"), [("val/loss", False), ("val/accuracy", True)])
def test_a_figure_on_a_page(metric: str, is_accuracy: bool) -> None:
    """What is of a variant says so, in the legend too; neutral colours are the page's, those of data stay."""
    runs = [loaded_run(variant, seed, (0.9, 0.5)) for variant in ("none", "batch") for seed in (0, 1)]
    figure = experiment_curves(runs, Metric(metric), x="epoch", title="x").figure
    drawing = drawing_of(figure, "a < b", "f1", {"none": 0, "batch": 1})
    page = Page(drawing.svg)
    marks = [(name, value) for _, name, value in page.attributes if name.startswith("data-")]
    for number in ("0", "1"):
        assert marks.count(("data-variant", number)) == 3  # the seeds, the mean, the band
        assert marks.count(("data-key", number)) == 2  # line and name
    assert ("svg", "aria-label", "a < b") in page.attributes
    styles = " ".join(value for _, name, value in page.attributes if name == "style")
    assert {"var(--ink)", "var(--line)", "var(--quiet)"} <= set(re.findall(r"var\([^)]*\)", styles))
    assert (
        "var(--ground)" not in styles
    )  # the page's is seen through, with the shade of an edge beyond which there is more
    (panel,) = drawing.panels
    assert panel["percent"] is is_accuracy
    assert [series["color"] in styles for series in panel["series"]] == [True, True]
    assert not re.search("#(ffffff|333333|e2e2e2|666666)", styles)
    assert {name.split("-")[0] for _, key, name in page.attributes if key == "id"} == {"f1"}


def test_colours_that_stand_for_numbers_stay(tmp_path: Path) -> None:
    """On a dark page as on a bright one: neither the cells of a heat map nor what is written in them."""
    config = CONFIG[: CONFIG.index("claims")].replace("batch]}", "batch], training.optimizer.lr: [0.1, 0.2]}")
    text = text_of(write(tmp_path, (NONE, [1.0] * 4, BATCH, [1.0] * 4), config))
    kept = re.findall(r'<g fill="#000000">(.*?)</g>', text, re.DOTALL)
    assert len(kept) >= 4
    assert not any("var(" in group for group in kept)


@pytest.mark.parametrize(
    ("color", "dark", "on_page"),
    [
        ("#d55e00", "#d55e00", "#d55e00"),
        ("#332288", "#7a6fb2", "var(--on-dark-332288, #332288)"),
        ("#000001", "#737373", "var(--on-dark-000001, #000001)"),
        ("#e2e2e2", "#e2e2e2", "var(--line)"),
    ],
)
def test_dark_colours_are_lightened_on_a_dark_page(color: str, dark: str, on_page: str) -> None:
    """A colour that would not stand out is mixed with white there; on a bright page it stays."""
    assert (on_dark(color), page_colour(color)) == (dark, on_page)


# ---------------------------------------------------------------- the list of a folder


def test_index(tmp_path: Path) -> None:
    """The newest experiment first: its headline, day and runs, a link to its page, its picture where there is one."""
    runs = write(tmp_path, environment={"started": "2026-11-26T01:00:00"})
    shutil.copytree(EXAMPLE, runs / "a b")
    (runs / "x" / "overview.png").write_bytes(b"")
    text = to_index(chapters(read_runs([runs])[0]), runs)
    page = Page(text)
    assert set(page.tags) <= TAGS | {"img"}
    assert [value for tag, name, value in page.attributes if name in ("href", "src")] == [
        *("x/report.html", "x/overview.png", "x/report.html", "a%20b/report.html")
    ]
    for told in (
        "2 experiments",
        "1 of 1 claims supported (preliminary: 4 seeds); BatchNorm is ahead of no norm by 0.415",
        "8 runs, 2026-11-26",
    ):
        assert told in page.text
    assert "script" not in page.tags


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium")
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    text_of(write(folder))
    return folder / "page.html"


CENTRE = "(box => [box.x + box.width / 2, box.y + box.height / 2])(%s.getBoundingClientRect())"
BUTTON = "document.querySelector('[data-button=\"1\"]')"


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_in_a_browser(width: int, height: int, is_dark: bool, browser: Browser, page: Path) -> None:
    """No error; nothing wider than the window; the overview in the first screen, in colours that stand out."""
    browser.open(page, width, height, is_dark=is_dark)
    assert browser.errors == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    top, bottom = browser.evaluate(
        "(box => [box.top, box.bottom])(document.querySelector('svg').getBoundingClientRect())"
    )
    assert 0 < top < bottom <= height
    ink = browser.evaluate("getComputedStyle(document.querySelector('svg')).fill")
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, ground)]
    assert (brightness[0] > 600, brightness[1] < 100) == (is_dark, is_dark)


def test_values_under_the_pointer(browser: Browser, page: Path) -> None:
    """The pointer over the axes shows the values of all variants at the nearest evaluation, elsewhere none."""
    browser.open(page)
    data = json.loads(browser.evaluate("document.querySelector('article script').textContent"))
    left, top, width, height = data["figures"][0]["panels"][0]["box"]
    x, y, svg_width, svg_height = browser.evaluate(
        "(box => [box.x, box.y, box.width, box.height])(document.querySelector('svg').getBoundingClientRect())"
    )
    browser.mouse("mouseMoved", x + svg_width * (left + 0.9 * width), y + svg_height * (top + 0.5 * height))
    tip = "document.querySelector('.tip').innerText.replace(/\\s+/g, ' ').trim()"
    assert (
        browser.evaluate(tip) == "training loss, epoch 2 no norm 0.715 0.700 to 0.730 BatchNorm 0.300 0.290 to 0.310"
    )
    browser.mouse("mouseMoved", 2, 2)
    assert browser.evaluate(tip) == ""
    browser.evaluate("document.querySelector('figure .scroll').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight")
    assert browser.evaluate(tip) == "training loss, epoch 1 no norm 1.43 1.40 to 1.46 BatchNorm 0.600 0.580 to 0.620"
    assert browser.errors == []


def test_values_of_a_sweep_under_the_pointer(browser: Browser, tmp_path: Path) -> None:
    """Of the norms at a rate, and of a cell of the heat map; how many seeds there are where some diverged."""
    config = CONFIG[: CONFIG.index("claims")].replace("batch]}", "batch], training.optimizer.lr: [0.1, 0.2]}")
    text_of(write(tmp_path, (NONE, [0.3, 0.5, None, 0.4], [0.2, 0.4, 0.3, 0.3], BATCH), config))
    browser.open(tmp_path / "page.html", 1280, 6000)
    data = json.loads(browser.evaluate("document.querySelector('article script').textContent"))
    assert data["variants"][4:] == ["no norm", "BatchNorm"]
    told = []
    for i, figure in enumerate(data["figures"]):
        for panel in figure["panels"]:
            if "cells" in panel or figure["x"].startswith("learning rate"):
                left, top, width, height = panel["box"]
                x, y, svg_width, svg_height = browser.evaluate(
                    "(box => [box.x, box.y, box.width, box.height])"
                    f"(document.querySelectorAll('figure svg')[{i}].getBoundingClientRect())"
                )
                at = [x + svg_width * (left + 0.75 * width), y + svg_height * (top + 0.25 * height)]
                browser.mouse("mouseMoved", *at)
                tip = f"document.querySelectorAll('figure')[{i}].querySelector('.tip')"
                told.append(browser.evaluate(f"{tip}.innerText.replace(/\\s+/g, ' ').trim()"))
    assert told == [
        "validation loss, learning rate 0.2 no norm 0.400 0.300 to 0.500 (n = 3) BatchNorm 0.300 0.290 to 0.310",
        "no norm, lr 0.2 validation loss 0.400 3 seeds, 0.300 to 0.500 1 of 4 diverged",
    ]
    assert browser.errors == []


def test_another_scale(browser: Browser, page: Path) -> None:
    """A button puts losses on a log axis: lines, bands, marks and values move to where they belong; and back."""
    browser.open(page)
    place = """(() => {
      const figure = document.querySelector("figure"), svg = figure.querySelector("svg");
      const group = svg.querySelector('[data-panel="0"]');
      const d = [...group.querySelectorAll('[data-variant="1"] > path')].at(-1).getAttribute("d");
      const ends = [...group.querySelectorAll("[data-variant] > g[transform]")];
      return {
        mean: [...d.matchAll(/[ML] \\S+ (\\S+)/g)].map((found) => Number(found[1])),
        ends: ends.map((end) => Number(end.getAttribute("transform").match(/ (\\S+)\\)/)[1])),
        ticks: [...group.querySelectorAll(".ticks text")].map((text) => Number(text.textContent)),
        height: svg.viewBox.baseVal.height,
      };
    })()"""
    (figure, *_) = json.loads(browser.evaluate("document.querySelector('article script').textContent"))["figures"]
    panel, button = figure["panels"][0], "document.querySelector('.scale')"
    (_, top, _, high), means = panel["box"], [series["mean"] for series in panel["series"]]
    before = browser.evaluate(place)
    assert (before["ticks"], browser.evaluate(f"{button}.textContent")) == ([], "log scale")
    browser.click(*browser.evaluate(CENTRE % button))
    after = browser.evaluate(place)
    low, up = min(min(map(min, series["seeds"])) for series in panel["series"]) / 1.15, panel["ylim"][1]

    def height(value: float) -> float:
        share = (math.log(value) - math.log(low)) / (math.log(up) - math.log(low))
        return float((top + high * (1 - share)) * after["height"])

    assert after["mean"] == pytest.approx([height(value) for value in means[1]], abs=0.02)
    assert after["mean"] != pytest.approx(before["mean"], abs=1)
    assert after["ends"] == pytest.approx([height(mean[-1]) for mean in means], abs=3)
    assert after["ticks"] == [0.5, 1.0, 1.5]
    browser.click(*browser.evaluate(CENTRE % button))
    again = browser.evaluate(place)
    assert (again["mean"], again["ends"], again["ticks"]) == (before["mean"], before["ends"], [])
    assert browser.evaluate(f"{button}.getAttribute('aria-pressed')") == "false"
    assert browser.errors == []


def test_a_click_in_the_legend_hides(browser: Browser, page: Path) -> None:
    """All that is of the variant, in every figure; another click shows it again."""
    browser.open(page)
    visible = (
        "[...document.querySelectorAll('svg [data-variant=\"1\"]')]"
        ".filter(item => getComputedStyle(item).display !== 'none').length"
    )
    before = browser.evaluate(visible)
    browser.click(*browser.evaluate(CENTRE % BUTTON))
    assert browser.evaluate(visible) == 0 < before
    assert browser.evaluate(f"{BUTTON}.getAttribute('aria-pressed')") == "false"
    browser.click(*browser.evaluate(CENTRE % BUTTON))
    assert browser.evaluate(visible) == before


def test_a_variant_is_brought_out(browser: Browser, page: Path) -> None:
    """The pointer over its row of a table dims all others in the figures."""
    browser.open(page)
    browser.evaluate("document.querySelector('tr[data-variant]').scrollIntoView({block: 'center'})")
    browser.mouse("mouseMoved", *browser.evaluate(CENTRE % "document.querySelector('tr[data-variant=\"1\"]')"))
    dimmed = (
        "Promise.all(document.getAnimations().map(a => a.finished)).then(() => ['0', '1'].map(i => "
        'getComputedStyle(document.querySelector(`svg [data-variant="${i}"]`)).opacity < 0.5))'
    )
    assert browser.evaluate(dimmed) == [True, False]
    browser.mouse("mouseMoved", 2, 2)
    assert browser.evaluate(dimmed) == [False, False]
