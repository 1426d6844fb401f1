"""Live figures in the page: each control moved, and what is then shown compared with the view called from here."""

from __future__ import annotations

import functools
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from blkmodel.live import Slider, Steps, live
from blkmodel.view.machine_map import machine_map
from tests.book.conftest import SITE, pages
from tests.book.live import Figure, Firefox, figures
from tests.book.test_browser import Visit

pytestmark = pytest.mark.site

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "_build" / "engine"
STATIC = ROOT / "book" / "_static"
LARGEST = 9_000_000  # bytes of engine before the first answer


def policy():
    """The content security policy that the README gives to who hosts the book."""
    found = re.search(r"Content-Security-Policy: (.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    return " ".join(found[1].split())


class Strict(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Content-Security-Policy", policy())
        super().end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def stage(site, tmp_path_factory):
    """A page with every kind of control; its address from disk and from a server with the strict policy."""
    place = tmp_path_factory.mktemp("stage")
    shutil.copytree(ENGINE, place / "_static" / "engine")
    for name in ("live.js", "live.css"):
        shutil.copy(STATIC / name, place / "_static")
    kinds = live(machine_map, cpus=(1, 64), present=Slider(1, "cpus"), nodes=[1, 2, 4], threads=(1, 4), marked="",
                 names=True)
    steps = live(machine_map, name="steps", start={"cpus": 16, "present": 2}, present=Steps("cpus"), threads=1)
    leader = live(machine_map, name="leader", follow="both", cpus=(1, 32))
    follower = live(machine_map, name="follower", follow="both", threads=(1, 4))
    manifest = json.loads((ENGINE / "manifest.json").read_text())
    figures = "<p>and</p>".join(each.html() for each in (kinds, steps, leader, follower))
    (place / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Stage</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/live.css">'
        f'<script defer src="_static/live.js" data-engine="{html.escape(json.dumps(manifest["parts"]))}"></script>'
        f'</head><body><main>{figures}<div style="height: 100rem"></div></main></body></html>')
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Strict, directory=str(place)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"file": place.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()


def try_everything(evaluate):
    for figure in figures(evaluate):
        for name, value in figure.moves():
            figure.check(**{name: value})


@pytest.mark.parametrize("way", ["file", "http"])
def test_each_control(browser, stage, way):
    with Visit(browser, stage) as visit:
        visit.page.goto(f"{stage[way]}/index.html")
        try_everything(visit.page.evaluate)
        visit.check()


@pytest.mark.parametrize("way", ["file", "http"])
def test_each_control_in_firefox(stage, way, tmp_path):
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if not program:
        pytest.skip("Firefox is missing. On Debian: apt-get install firefox-esr")
    firefox = Firefox(program, tmp_path)
    try:
        firefox.goto(f"{stage[way]}/index.html")
        try_everything(firefox.evaluate)
        assert firefox.errors == []
        assert [r for r in firefox.requests if not r.startswith((stage[way], "data:", "about:"))] == []
    finally:
        firefox.close()


def live_pages():
    return [p for p in pages() if (SITE / p).exists() and 'class="blk-live"' in (SITE / p).read_text("utf8")]


@pytest.mark.parametrize("path", live_pages())
def test_each_figure_of_the_book(browser, origins, path):
    with Visit(browser, origins) as visit:
        visit.page.goto(f"{origins['file']}/{path}")
        try_everything(visit.page.evaluate)
        visit.check()


def test_every_page_under_the_strict_policy(browser, site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Strict, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    with Visit(browser, {"http": origin}) as visit:
        for path in pages():
            visit.page.goto(f"{origin}/{path}")
            if path == "index.html":  # leads on to the first chapter
                visit.page.wait_for_url("**/book/index.html")
            for figure in figures(visit.page.evaluate)[:1]:
                figure.check(**dict([next(figure.moves())]))
        visit.check()
    server.shutdown()


def test_the_engine_is_of_this_package(site):
    check = [sys.executable, str(ROOT / "book" / "_engine" / "build.py"), "--check"]
    assert subprocess.run(check, check=False).returncode == 0, "the engine is stale: make book"
    parts = json.loads((ENGINE / "manifest.json").read_text())["parts"]
    assert {each["file"] for each in parts.values()} <= {p.name for p in (site / "_static" / "engine").iterdir()}
    assert sum(parts[name]["size"] for name in ("worker", "wasm", "heap", "sources")) < LARGEST


def test_only_the_newest_change_is_answered(browser, stage):
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        figure = Figure(page.evaluate, "machine_map")
        figure.check(cpus=10)
        drawn = page.evaluate("""async () => {
          const root = document.querySelector('[data-figure=machine_map]');
          const slider = root.querySelector('[data-name=cpus] input[type=range]');
          let drawn = 0;
          root.addEventListener('blk-shown', () => drawn++);
          for (let cpus = 11; cpus <= 60; cpus++) {
            slider.value = cpus;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
          }
          while (root.getAttribute('aria-busy') === 'true') await new Promise(done => setTimeout(done, 5));
          return drawn;
        }""")
        assert drawn == 1
        figure.check(threads=1, cpus=60)


def test_a_state_can_be_sent_and_reset(browser, stage):
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        first = Figure(page.evaluate, "machine_map")
        first.check(cpus=12, marked="2-3", nodes=2, names=False)
        page.wait_for_url("**machine_map.cpus=12**")
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector("[data-figure=machine_map][aria-busy=false]")
        again = Figure(page.evaluate, "machine_map")
        again.values |= {"cpus": 12, "marked": "2-3", "nodes": 2, "names": False}
        again.check()
        assert page.locator("[data-name=cpus] input[type=number]").first.input_value() == "12"
        page.locator("[data-figure=machine_map] .blk-reset").click()
        again.values = dict(again.spec["values"])
        again.check()
        page.wait_for_function("!location.search")
        assert not page.locator("[data-figure=machine_map] .blk-reset").is_visible()
        visit.check()


def test_figures_that_follow(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.goto(f"{stage['http']}/index.html")
        leader, follower = (Figure(visit.page.evaluate, name) for name in ("leader", "follower"))
        leader.check(cpus=20)
        follower.values["cpus"] = 20
        follower.check(threads=4)
        leader.values["threads"] = 4
        leader.check()
        visit.check()


def test_the_keyboard_and_the_place_on_the_page(browser, stage):
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        Figure(page.evaluate, "steps").check(present=3)
        page.evaluate("scrollTo(0, 250)")
        page.locator("[data-figure=steps] [data-go=next]").focus(timeout=1000)
        before = page.evaluate("scrollY")
        says = page.locator("[data-figure=steps] output")
        for key, at in (("ArrowRight", 4), ("ArrowRight", 5), ("ArrowLeft", 4), ("End", 16), ("ArrowRight", 16),
                        ("Home", 0), ("Enter", 1)):
            page.keyboard.press(key)
            page.wait_for_selector("[data-figure=steps][aria-busy=false]")
            assert says.text_content() == f"{at} of 16"
        assert page.evaluate("document.activeElement.dataset.go") == "next"
        assert page.evaluate("scrollY") == before
        label = page.locator("[data-figure=steps] .blk-message, [data-figure=steps] svg").first
        assert "1 of them present" in label.get_attribute("aria-label")
        visit.check()


def test_play_goes_to_the_end(browser, stage):
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        Figure(page.evaluate, "steps").check(present=14)
        play = page.locator("[data-figure=steps] [data-go=play]")
        play.click()
        assert play.get_attribute("aria-label") == "pause"
        page.wait_for_function("document.querySelector('[data-figure=steps] output').textContent === '16 of 16'")
        page.wait_for_function("document.querySelector('[data-go=play]').getAttribute('aria-label') === 'play'")


def test_nothing_is_loaded_before_a_touch(browser, stage):
    asked = []
    with Visit(browser, stage) as visit:
        visit.page.on("request", lambda r: asked.append(r.url))
        visit.page.goto(f"{stage['http']}/index.html", wait_until="networkidle")
        assert not [url for url in asked if "engine" in url]
        visit.check()


def test_without_javascript_the_still_says_so(browser, stage):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{stage['file']}/index.html")
    assert page.locator("svg").first.is_visible()
    assert "This is a still" in page.locator(".blk-status").first.text_content()
    assert page.locator("fieldset input").first.is_disabled()
    context.close()


def touch(page, cpus):
    page.locator("[data-figure=machine_map] input[type=number]").first.fill(str(cpus))


def test_a_broken_memory_image_is_done_without(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.route("**/heap.*", lambda route: route.fulfill(body=b"not gzip"))
        visit.page.goto(f"{stage['http']}/index.html")
        Figure(visit.page.evaluate, "machine_map").check(cpus=5)


def test_no_engine_and_the_page_says_so(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.route("**/engine/**", lambda route: route.abort())
        visit.page.goto(f"{stage['http']}/index.html")
        before = visit.page.locator("svg").first.inner_html()
        touch(visit.page, 5)
        said = visit.page.locator("[data-figure=machine_map] .blk-status")
        said.filter(has_text="could not be loaded").wait_for()
        assert "The figures stay as they are." in said.text_content()
        assert visit.page.locator("svg").first.inner_html() == before


NOTEBOOK = """import os
os.environ.pop("BLKMODEL_STILL", None)
from blkmodel.live import live
from blkmodel.view.machine_map import machine_map
live(machine_map, cpus=(1, 64), nodes=[1, 2])"""


@pytest.mark.slow
def test_in_jupyterlab(browser, tmp_path):
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "figure.ipynb")
    environment = os.environ | {f"JUPYTER_{each}_DIR": str(tmp_path / each) for each in ("CONFIG", "DATA", "RUNTIME")}
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
             "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=t", f"--ServerApp.root_dir={tmp_path}",
             "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            if where := re.search(r"(http://127\.0\.0\.1:\d+/)lab", log.read_text()):
                break
            time.sleep(0.1)
        page = browser.new_page()
        page.goto(f"{where[1]}lab/tree/figure.ipynb?token=t")
        page.get_by_text("| Idle").wait_for(timeout=60_000)  # before that, a cell that is run does nothing
        page.get_by_text("from blkmodel.live").first.click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        handle = page.locator(".noUi-handle").first
        handle.wait_for(timeout=60_000)

        def shows(**values):
            text = page.evaluate("""([text]) => {
              const made = document.createElement('div');
              made.innerHTML = text;
              const svg = made.querySelector('svg').outerHTML;
              return new Promise(done => {
                const look = left => {
                  const is = document.querySelector('.widget-html-content svg').outerHTML;
                  if (is === svg || !left) done(is === svg ? '' : is);
                  else setTimeout(look, 50, left - 1);
                };
                look(400);
              });
            }""", [machine_map(**values)])
            assert text == ""

        shows(cpus=8)
        handle.focus()
        page.keyboard.press("ArrowRight")
        shows(cpus=9)
        page.locator(".widget-dropdown select").select_option("2")
        shows(cpus=9, nodes=2)
        page.get_by_role("button", name="Reset").click()
        shows(cpus=8)
    finally:
        lab.terminate()
        lab.wait(30)
