"""Live figures in the page: each control moved, and what is then shown compared with the view called from here.

Those of the book are moved by test_browser.py, which visits each page."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from playwright.sync_api import expect

from blkmodel.live import Slider, Steps, Text, live
from blkmodel.view.figures.machine_to_queues import machine_to_queues
from blkmodel.view.figures.tag_map import tag_map
from blkmodel.view.figures.tag_memory import tag_memory
from blkmodel.view.figures.tags_under_load import tags_under_load
from blkmodel.view.figures.your_machine import last_case, your_machine
from tests.book.access import violations
from tests.book.conftest import ROOT, SITE, Visit, patient, served, visited
from tests.book.live import NOTHING_AHEAD, PATIENCE, Figure, end, figures, until
from tests.book.test_lab import address_in
from tests.tools.alone import CONFTEST

pytestmark = pytest.mark.site

ENGINE = ROOT / "_build" / "engine"
STATIC = ROOT / "book" / "_static"
HERE = {"PYTHONPATH": str(ROOT)}  # for other processes: this tree, whatever is installed
LARGEST = 7_500_000  # bytes of engine before the first answer
MORE = 2_150_000  # for cells besides; the most of it, the library, only for those that import of it


@pytest.fixture(scope="module")
def stage(site, tmp_path_factory):
    """A page with every kind of control; its address from disk and from a server with the strict policy."""
    place = tmp_path_factory.mktemp("stage")
    shutil.copytree(ENGINE, place / "_static" / "engine")
    for name in ("live.js", "live.css"):
        shutil.copy(STATIC / name, place / "_static")
    kinds = live(machine_to_queues, name="machine", cpus=(1, 64), present=Slider(1, "cpus"), nodes=[1, 2, 4],
                 threads=(1, 4))
    words = live(tags_under_load, name="words", processes="0 0 0 1")
    boxes = live(tag_map, name="boxes", round_robin=True)
    steps = live(machine_to_queues, name="steps", start={"cpus": 16, "present": 2}, present=Steps("cpus"), threads=1)
    leader = live(machine_to_queues, name="leader", follow="both", cpus=(1, 32))
    follower = live(machine_to_queues, name="follower", follow="both", threads=(1, 4))
    short = live(tag_memory, name="short", depth=(0, 1023))
    manifest = json.loads((ENGINE / "manifest.json").read_text())
    file = live(your_machine, name="file", pasted=Text(size=64, file=True), case=Slider(0, last_case))
    figures = "<p>and</p>".join(each.html() for each in (kinds, words, boxes, steps, leader, follower, short, file))
    (place / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Stage</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/live.css">'
        f'<script defer src="_static/live.js" data-engine="{html.escape(json.dumps(manifest["parts"]))}"></script>'
        f'</head><body><main>{figures}<div style="height: 100rem"></div></main></body></html>')
    with served(place) as address:
        yield {"file": place.as_uri(), "http": address}


@pytest.fixture(scope="module")
def windows(browser, stage):
    """One window for each way to read the stage. Its engine, once it is loaded, serves every test that asks for it."""
    with Visit(browser, stage) as file, Visit(browser, stage) as http:
        yield {"file": file, "http": http}


# As the page was when it came, but for its engine: nothing kept, nothing in hand, the top in sight, all at rest.
RESET = """() => {
  const figures = [...document.querySelectorAll('.blk-live')].map(root => root.blkLive);
  document.activeElement.blur();
  for (const figure of figures) {
    Object.defineProperty(figure, 'took', {value: 0, writable: true, configurable: true});
    Object.assign(figure, {moved: '', up: 1});
    figure.answers.clear();
    figure.message('');
    figure.go('reset');
  }
}"""
AT_REST = "() => !document.querySelector('.blk-live[aria-busy=true]') && (scrollTo(0, 0), true)"


@pytest.fixture
def at_rest(windows, stage):
    """A function that shows the stage in one of its windows: the page, and the account of what goes wrong."""
    def show(way):
        visit = windows[way]
        if visit.page.url.partition("?")[0] == f"{stage[way]}/index.html":
            visit.page.evaluate(RESET)
            visit.page.wait_for_function(AT_REST)
            visit.begin()
        else:
            visit.open(f"{stage[way]}/index.html")
        return visit
    return show


def try_everything(evaluate, wanted=lambda figure: True):
    """Move each control of the figures, one after the other; say which were tried."""
    evaluate(NOTHING_AHEAD)
    tried = [figure for figure in figures(evaluate) if wanted(figure)]
    for figure in tried:
        for name, value in figure.moves():
            figure.check(**{name: value})
    return [figure.view.__name__ for figure in tried]


@pytest.mark.parametrize("way", ["file", "http"])
def test_each_control(at_rest, way):
    visit = at_rest(way)
    try_everything(visit.page.evaluate)
    visit.check()


@pytest.mark.xdist_group("firefox")
def test_each_control_in_firefox_under_the_strict_policy(firefox, stage):
    firefox.goto(f"{stage['http']}/index.html")
    try_everything(firefox.evaluate)
    assert firefox.errors == []
    assert [r for r in firefox.requests if not r.startswith((stage["http"], "data:", "about:"))] == []


# Choose a file, or drop it on the figure, as a reader would; come back when the page shows the answer.
FILE = """async ([name, text, how, patience]) => {
  const root = document.querySelector(`[data-figure="${name}"]`);
  const said = () => root.querySelector(':scope > .blk-message');
  const [before, old] = [root.blkLive.shown.innerHTML, said()];
  const files = new DataTransfer();
  files.items.add(new File([typeof text === 'string' ? text : new Uint8Array(text)], 'mine.json'));
  const chooser = root.querySelector('input[type=file]');
  if (how === 'drop') {
    const event = new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: files});
    root.querySelector('.blk-shown').dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error('the browser would open the file');
  } else {
    chooser.files = files.files;
    for (const type of ['input', 'change']) chooser.dispatchEvent(new Event(type, {bubbles: true}));
  }
  const begin = performance.now();
  const waits = () => (!said() || said() === old) && root.blkLive.shown.innerHTML === before;
  while (root.getAttribute('aria-busy') === 'true' || waits()) {
    if (performance.now() - begin > 1000 * patience) throw new Error(`${name} does not answer`);
    await new Promise(done => setTimeout(done, 5));
  }
  return {message: said() ? said().textContent : '', shown: root.blkLive.shown.innerHTML,
          typed: root.querySelector('textarea').value};
}"""
RECORDED = ROOT / "tests" / "recordings"


def try_files(evaluate):
    """Choose and drop recordings; the page must show what Python draws. Then what is none."""
    figure = Figure(evaluate, "file")

    def given(what, how):
        return evaluate(FILE, ["file", what, how, PATIENCE])

    for how, path in (("choose", "6.12-c8n4"), ("drop", "6.1-c5of6n2")):
        text = (RECORDED / "debian" / "maps" / f"{path}.json").read_text()
        state = given(text, how)
        assert state["message"] == ""
        assert state["typed"] == text
        figure.values |= {"pasted": text}
        figure.check(case=5)
    long = text + " " * 30_000
    assert given(long.replace("6.1.0-57", "6.1.0-58"), "choose")["typed"] == ""
    shown = given((RECORDED / "hostile" / "check_bigint.json").read_text(), "choose")
    assert shown["message"] == "line 1: expected numbers of at most 20 digits"
    assert "6.1.0-58-amd64 on 6 CPUs" in shown["shown"], "behind the message is the last figure"
    for wrong, why in (("x" * ((2 << 20) + 1), "it has 2097153 bytes; at most 2097152 are read"),
                       ([255, 254, 0], "it is not UTF-8 text")):
        assert given(wrong, "drop")["message"] == f"This file cannot be read: {why}."
    figure.values |= {"pasted": ""}
    figure.check(pasted="")


@pytest.mark.parametrize("way", ["file", "http"])
def test_a_file_that_a_reader_chooses(at_rest, way):
    visit = at_rest(way)
    page = visit.page
    try_files(page.evaluate)
    with page.expect_file_chooser() as chosen:
        page.locator("[data-figure=file] input[type=file]").focus()
        page.keyboard.press("Enter")
    chosen.value.set_files(RECORDED / "debian" / "maps" / "6.12-c9n3.json")
    page.get_by_text("6.12.117+deb12-amd64 on 9 CPUs").first.wait_for()
    page.wait_for_timeout(300)
    assert "pasted" not in page.url
    visit.check()


@pytest.mark.xdist_group("firefox")
def test_a_file_that_a_reader_chooses_in_firefox(firefox, stage):
    firefox.goto(f"{stage['http']}/index.html")
    try_files(firefox.evaluate)
    assert firefox.errors == []
    assert [r for r in firefox.requests if not r.startswith((stage["http"], "data:", "about:"))] == []


@pytest.mark.xdist_group("firefox")
def test_the_book_from_disk_in_firefox(firefox, origins):
    wanted = {"tag_memory", "tag_map", "break_it"}
    firefox.goto(f"{origins['file']}/book/tag-sets.html")
    tried = try_everything(firefox.evaluate, lambda figure: figure.view.__name__ in wanted)
    assert set(tried) == wanted
    assert firefox.errors == []
    assert [r for r in firefox.requests if not r.startswith((origins["file"], "data:", "about:"))] == []


# A figure as it stands in a page: what it is told, and its form.
STANDING = re.compile(r'<div class="blk-live" data-live="(.*?)">(<form.*?</form>)', re.DOTALL)


def standing():
    """(page, place on it, what tells apart figures that try out the same: view, controls, choices) of every figure."""
    if not SITE.exists():  # nothing to find, and no reason to fail while tests are collected
        return
    for path in visited():
        for place, (told, form) in enumerate(STANDING.findall((SITE / path).read_text("utf8"))):
            controls = re.findall(r'data-kind="(\w+)" data-name="(\w+)"|<option value="([^"]*)"', form)
            yield path, place, (json.loads(html.unescape(told))["view"], *controls)


def live_pages():
    """Each page with a live figure, and the places of those figures that no page before it has in the same way."""
    found: dict[str, list[int]] = {}
    seen = set()
    for path, place, what in standing():
        found.setdefault(path, [])
        if what not in seen:
            found[path].append(place)
        seen.add(what)
    return found


def try_figures(page, first):
    """Move each control of each figure of a page. Those that then stand otherwise are still for every reader.

    first: the places of those that no page before it has in the same way; of others, one value of each control will do.
    """
    otherwise = []
    page.evaluate(NOTHING_AHEAD)
    for place, figure in enumerate(figures(page.evaluate)):
        moves = list(figure.moves())
        if place not in first:
            moves = list({name: (name, value) for name, value in moves if value != figure.values[name]}.values())
        states = [figure.check(**{name: value}) for name, value in moves]
        said = {tuple(re.findall(r'aria-label="([^"]*)"', state["shown"])) for state in states}
        assert place not in first or said == {()} or len(said) > 1, f"{figure.name}: the same words each time"
        if figure.values != figure.spec["values"]:  # else it is to the letter what was looked at before it was moved
            otherwise.append(f'[data-figure="{figure.name}"]')
    if otherwise:
        assert violations(page, ", ".join(otherwise)) == []


def test_the_engine_is_of_this_package(site):
    check = [sys.executable, str(ROOT / "book" / "_engine" / "build.py"), "--check"]
    assert subprocess.run(check, check=False).returncode == 0, "the engine is stale: make book"
    parts = json.loads((ENGINE / "manifest.json").read_text())["parts"]
    assert {each["file"] for each in parts.values()} <= {p.name for p in (site / "_static" / "engine").iterdir()}
    assert sum(parts[name]["size"] for name in ("worker", "wasm", "heap", "sources")) < LARGEST
    assert sum(parts[name]["size"] for name in ("cells", "package", "stdlib")) < MORE


def test_a_stale_engine_is_noticed(site, tmp_path, monkeypatch):
    """A view changes by one letter: the engine in which it was is no longer up to date."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_engine"))
    build = importlib.import_module("build")
    assert build.up_to_date()
    package = build.package_files()
    name = next(each for each in package if each.endswith("view/figures/bus.py"))
    monkeypatch.setattr(build, "package_files", lambda: package | {name: package[name] + "#"})
    assert not build.up_to_date()


def test_a_stale_output_is_noticed(tmp_path):
    """The text of a figure changes by one word: the comparison of `make chapters` fails."""
    stored = nbformat.read(ROOT / "book" / "index.ipynb", as_version=4)
    stored.cells = [cell for cell in stored.cells if "machine_to_queues" in cell.source and cell.cell_type == "code"]
    nbformat.write(stored, tmp_path / "fresh.ipynb")
    data = stored.cells[0].outputs[0].data
    data["text/html"] = data["text/html"].replace("hardware queue", "hardware Queue", 1)
    nbformat.write(stored, tmp_path / "stale.ipynb")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-rpf", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, "--nbval", "fresh.ipynb", "stale.ipynb"], cwd=tmp_path, check=False, text=True,
                          env=os.environ | HERE | {"BLKMODEL_STILL": "1"}, capture_output=True)
    said = re.findall(r"^(PASSED|FAILED) (\w+)\.ipynb", done.stdout, re.MULTILINE)
    assert sorted(said) == [("FAILED", "stale"), ("PASSED", "fresh")], done.stdout + done.stderr


def test_only_the_newest_change_is_answered(at_rest):
    visit = at_rest("file")
    page = visit.page
    figure = Figure(page.evaluate, "machine")
    figure.check(cpus=10)
    drawn = page.evaluate("""async () => {
      const root = document.querySelector('[data-figure=machine]');
      const slider = root.querySelector('[data-name=cpus] input[type=range]');
      let drawn = 0;
      root.addEventListener('blk-shown', () => drawn++);
      root.blkLive.answers.clear(); // what was drawn ahead would be shown at once: 12 is two steps from 10
      for (let cpus = 12; cpus <= 60; cpus++) {
        slider.value = cpus;
        slider.dispatchEvent(new Event('input', {bubbles: true}));
      }
      while (root.getAttribute('aria-busy') === 'true') await new Promise(done => setTimeout(done, 5));
      return drawn;
    }""")
    assert drawn == 1
    figure.check(threads=1, cpus=60)


def test_what_a_step_would_show_is_there_before_it(browser, stage):
    """At rest the worker draws the neighbours of what is shown. They are right, and are not shown before their time."""
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['http']}/index.html")
        # However slow this machine is just now, no answer counts as too slow to be drawn ahead.
        page.evaluate("""() => document.querySelectorAll('.blk-live').forEach(root =>
            Object.defineProperty(root.blkLive, 'took', {get: () => 0, set: () => {}}))""")
        figure = Figure(page.evaluate, "machine")
        figure.check(cpus=12)
        there = """([name, values]) =>
            document.querySelector(`[data-figure=${name}]`).blkLive.answers.has(JSON.stringify(values))"""
        for change in ({"cpus": 13}, {"cpus": 11}, {"cpus": 14}, {"nodes": 2}, {"nodes": 4}, {"threads": 2}):
            page.wait_for_function(there, arg=["machine", figure.values | change])
        assert figure.set()["values"]["cpus"] == 12
        at_once = """() => {
          const figure = document.querySelector('[data-figure=machine]').blkLive;
          figure.change({cpus: 13});
          return !figure.wanted;
        }"""
        assert page.evaluate(at_once)
        figure.check(cpus=13)

        # The first of what comes next is what the hand is about to move, and on the side to which it has moved.
        first = """() => {
          const figure = document.querySelector('[data-figure=machine]').blkLive;
          return figure.nextStates().find(each => JSON.stringify(each) !== JSON.stringify(figure.values));
        }"""
        assert page.evaluate(first) == figure.values | {"cpus": 14}
        figure.check(cpus=11)
        assert page.evaluate(first) == figure.values | {"cpus": 10}
        page.locator("[data-figure=machine] [data-name=nodes]").hover()
        until(lambda: page.evaluate(first)["nodes"] != figure.values["nodes"], page=page)

        # A figure that is only looked at is drawn ahead too.
        seen = Figure(page.evaluate, "boxes")
        page.locator("[data-figure=boxes]").scroll_into_view_if_needed()
        page.wait_for_function(there, arg=["boxes", seen.values | {"round_robin": False}])
        seen.check(round_robin=False)
        visit.check()


def test_a_state_can_be_sent_and_reset(browser, stage):
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        first = Figure(page.evaluate, "machine")
        first.check(cpus=12, nodes=2)
        page.wait_for_url("**machine.cpus=12**")
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector("[data-figure=machine][aria-busy=false]")
        again = Figure(page.evaluate, "machine")
        again.values |= {"cpus": 12, "nodes": 2}
        again.check()
        assert page.locator("[data-name=cpus] input[type=number]").first.input_value() == "12"
        page.locator("[data-figure=machine] .blk-reset").click()
        again.values = dict(again.spec["values"])
        again.check()
        page.wait_for_function("() => !location.search")
        expect(page.locator("[data-figure=machine] .blk-reset")).not_to_be_visible()
        visit.check()


def test_an_error_of_the_model_is_its_errno_and_its_log(at_rest):
    visit = at_rest("http")
    figure = Figure(visit.page.evaluate, "short")
    still = visit.page.locator("[data-figure=short] .blk-shown").inner_html()
    state = figure.check(depth=0)
    assert state["refused"]
    assert "<strong>EINVAL</strong> (22)" in state["message"]
    assert "invalid for parameter `io_queue_depth'" in state["message"]
    assert state["shown"] == still, "behind the message is the last figure"
    assert not figure.check(depth=8)["refused"]
    visit.check()


# What a figure tells of its progress: each text of its status line, with the share that is loaded.
TOLD = """() => {
  const root = document.querySelector('[data-figure=machine]');
  window.told = [];
  new MutationObserver(() => {
    const share = root.style.getPropertyValue('--blk-loaded');
    window.told.push([root.querySelector('.blk-status').textContent, share === '' ? null : Number(share)]);
  }).observe(root, {attributes: true, subtree: true, childList: true, characterData: true});
}"""


@pytest.mark.parametrize("way", ["file", "http"])
def test_how_much_is_loaded(browser, stage, way):
    with Visit(browser, stage) as visit:
        visit.page.goto(f"{stage[way]}/index.html")
        visit.page.evaluate(TOLD)
        Figure(visit.page.evaluate, "machine").check(cpus=3)
        told = [tuple(each) for each in visit.page.evaluate("told")]
        shares = [share for words, share in told if words == "Loading the model …" and share is not None]
        assert shares[0] == 0
        assert 0 < max(shares) <= 1
        assert shares == sorted(shares)
        assert told[-1] == ("", None)


def test_the_keyboard_reaches_every_control(browser, stage):
    """From control to control by the tab key alone; each has a name, as axe-core sees to."""
    with Visit(browser, stage) as visit:
        page = visit.page
        page.goto(f"{stage['file']}/index.html")
        wanted = page.evaluate("""() => {
          const all = [...document.querySelectorAll('fieldset :is(input, select, textarea, button)')]
            .filter(each => each.checkVisibility({visibilityProperty: true}));
          all.forEach((each, i) => each.dataset.number = i);
          return all.length;
        }""")
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.dataset.number"))
        assert reached == [str(number) for number in range(wanted)]


MOVING = """() => [...document.querySelectorAll('main *')].filter(e => {
  const style = getComputedStyle(e);
  return style.transitionDuration.split(', ').some(each => parseFloat(each) > 0) || style.animationName !== 'none';
}).length"""


def test_nothing_moves_for_who_wants_no_motion(browser, origins):
    with Visit(browser, origins) as visit:
        visit.page.goto(f"{origins['file']}/book/index.html")
        figures(visit.page.evaluate)[0].check(cpus=5)
        assert visit.page.evaluate(MOVING) == 0
        visit.page.emulate_media(reduced_motion="no-preference")
        until(lambda: visit.page.evaluate(MOVING) > 0, page=visit.page)


PRINTED = """() => {
  const root = document.querySelector('.blk-live');
  const seen = selector => root.querySelector(selector).checkVisibility({visibilityProperty: true});
  return {controls: seen('fieldset'), status: seen('.blk-status'), figure: seen('.blk-shown svg'),
          ink: getComputedStyle(root.querySelector('.blk')).color,
          tooWide: [...document.querySelectorAll('.blk svg')].filter(each => each.getBoundingClientRect().right >
            document.documentElement.clientWidth + 1).length};
}"""


def test_on_paper_there_is_the_figure_alone(browser, origins):
    with Visit(browser, origins) as visit:
        page = visit.page
        visit.size(700, 990)  # A4 between its margins
        page.emulate_media(color_scheme="dark")
        page.goto(f"{origins['file']}/book/which-queue.html")
        on_screen = page.evaluate(PRINTED)
        assert (on_screen["controls"], on_screen["figure"]) == (True, True)
        page.emulate_media(media="print", color_scheme="dark")
        printed = page.evaluate(PRINTED)
        red, green, blue = map(int, re.findall(r"\d+", printed.pop("ink"))[:3])
        assert printed == {"controls": False, "status": False, "figure": True, "tooWide": 0}
        assert max(red, green, blue) < 100, "ink is dark on paper, whatever the theme"


def test_figures_that_follow(at_rest):
    visit = at_rest("http")
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
        page.locator("[data-figure=steps] [data-go=next]").focus()
        before = page.evaluate("scrollY")
        says = page.locator("[data-figure=steps] output")
        for key, at in (("ArrowRight", 4), ("ArrowRight", 5), ("ArrowLeft", 4), ("End", 16), ("ArrowRight", 16),
                        ("Home", 0), ("Enter", 1)):
            page.keyboard.press(key)
            expect(says).to_have_text(f"{at} of 16")
            page.wait_for_selector("[data-figure=steps][aria-busy=false]")
        assert page.evaluate("document.activeElement.dataset.go") == "next"
        assert page.evaluate("scrollY") == before
        assert page.locator("[data-figure=steps] [aria-label*='1 of them present']").count() == 1
        visit.check()


def test_play_goes_to_the_end(at_rest):
    visit = at_rest("file")
    page = visit.page
    Figure(page.evaluate, "steps").check(present=14)
    play = page.locator("[data-figure=steps] [data-go=play]")
    play.evaluate("""button => {
      window.labels = [];
      new MutationObserver(() => labels.push(button.getAttribute('aria-label')))
        .observe(button, {attributeFilter: ['aria-label']});
    }""")
    play.click()
    until(lambda: page.evaluate("labels"), ["pause", "play"], page)
    assert page.locator("[data-figure=steps] output").text_content() == "16 of 16"


def test_nothing_is_loaded_before_a_touch(browser, stage):
    asked = []
    with Visit(browser, stage) as visit:
        visit.page.on("request", lambda r: asked.append(r.url))
        visit.page.goto(f"{stage['http']}/index.html", wait_until="networkidle")
        assert not [url for url in asked if "engine" in url]
        visit.check()


def test_without_javascript_the_still_says_so(browser, stage):
    context = browser.new_context(java_script_enabled=False)
    page = patient(context.new_page())
    page.goto(f"{stage['file']}/index.html")
    assert page.locator("svg").first.is_visible()
    assert "This is a still" in page.locator(".blk-status").first.text_content()
    assert page.locator("fieldset input").first.is_disabled()
    context.close()


def touch(page, cpus):
    page.locator("[data-figure=machine] input[type=number]").first.fill(str(cpus))


def test_a_broken_memory_image_is_done_without(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.route("**/heap.*", lambda route: route.fulfill(body=b"not packed"))
        visit.page.goto(f"{stage['http']}/index.html")
        Figure(visit.page.evaluate, "machine").check(cpus=5)


def test_no_engine_and_the_page_says_so(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.route("**/engine/**", lambda route: route.abort())
        visit.page.goto(f"{stage['http']}/index.html")
        before = visit.page.locator("svg").first.inner_html()
        touch(visit.page, 5)
        said = visit.page.locator("[data-figure=machine] .blk-status")
        said.filter(has_text="could not be loaded").wait_for()
        assert "The figures stay as they are." in said.text_content()
        assert visit.page.locator("svg").first.inner_html() == before


def test_without_stacks_a_figure_says_what_it_lacks(browser, origins):
    """What overtakes is not shown, in a browser without Promise Integration; what was made at build stays."""
    def without(route):
        response = route.fetch()
        route.fulfill(response=response, body="delete WebAssembly.Suspending;\n" + response.text())
    with Visit(browser, origins) as visit:
        visit.page.route("**/engine/worker.*.js", without)
        visit.page.goto(f"{origins['http']}/book/timeout-abort-reset.html")
        figure = visit.page.locator(".blk-live").first
        made = figure.locator(".says").inner_text()
        figure.locator("select").first.select_option(label="somebody resets the controller")
        figure.get_by_text("(WebAssembly.Suspending), which this browser has not").wait_for()
        assert figure.locator(".says").inner_text() == made


NEVER = """onmessage = ({data}) => {
  if (data.start) { if (%s) postMessage({ready: true}); return; }
  const {values} = JSON.parse(data.request);
  if (values.cpus !== 13)
    postMessage({id: data.id, answer: JSON.stringify({html: "<svg></svg>", error: false, values, bounds: {}})});
}"""


def never(ready):
    return lambda route: route.fulfill(body=NEVER % ready, content_type="text/javascript")


def test_a_model_that_never_answers_is_started_anew(browser, stage):
    with Visit(browser, stage) as visit:
        visit.page.clock.install()
        visit.page.route("**/worker.*", never("true"))
        visit.page.goto(f"{stage['http']}/index.html")
        author = visit.page.evaluate("document.querySelector('[data-figure=machine]').blkLive.author.cpus")
        touch(visit.page, 13)
        visit.page.wait_for_function("() => Boolean(document.querySelector('[data-figure=machine]').blkLive.asked)")
        visit.page.clock.fast_forward(21_000)
        visit.page.locator("[data-figure=machine] .blk-message", has_text="started anew").wait_for()
        state = "document.querySelector('[data-figure=machine]')"
        assert visit.page.evaluate(f"{state}.blkLive.values.cpus") == author
        assert visit.page.evaluate(f"{state}.getAttribute('aria-busy')") == "false"
        touch(visit.page, 7)
        visit.page.locator("[data-figure=machine] .blk-message").wait_for(state="detached")


def test_an_engine_that_never_loads_is_given_up(browser, stage):
    with Visit(browser, stage) as visit:
        begun = []

        def begin(route):
            begun.append(route)
            never("false")(route)

        visit.page.clock.install()
        visit.page.route("**/worker.*", begin)
        visit.page.goto(f"{stage['http']}/index.html")
        touch(visit.page, 5)
        said = visit.page.locator("[data-figure=machine] .blk-status")
        for times, _ in enumerate(("with the image of its memory", "without"), 1):
            until(lambda times=times: len(begun) == times, page=visit.page)
            visit.page.clock.fast_forward(21_000)
        said.filter(has_text="could not be loaded").wait_for()


@pytest.mark.parametrize("bad", [
    ["machine.cpus=1e999", "machine.nodes=3", "boxes.round_robin=1", "words.processes=" + "9" * 5000],
    ["machine.cpus=%221%22", "machine.nodes=[1]"],
    ["machine.cpus=2.5", "machine.threads={}"],
    ["machine.cpus=null"],
], ids=lambda bad: bad[0])
def test_an_address_can_say_only_what_a_control_can(browser, stage, bad):
    """What it can say stands, whatever is beside it."""
    with Visit(browser, stage) as visit:
        visit.page.goto(f"{stage['http']}/index.html?{'&'.join(bad)}&machine.present=2")
        state = "document.querySelector('[data-figure={}]').blkLive"
        for each in bad:
            figure, name = each.partition("=")[0].split(".")
            values, author = (visit.page.evaluate(f"{state.format(figure)}.{which}") for which in ("values", "author"))
            assert values[name] == author[name]
        assert visit.page.evaluate(f"{state.format('machine')}.values.present") == 2


CELLS = ["""import os
os.environ.pop("BLKMODEL_STILL", None)
from blkmodel.live import live
from blkmodel.view.figures.machine_to_queues import machine_to_queues
live(machine_to_queues, cpus=(1, 16), driver=["nvme", "null_blk"])""", """\
from blkmodel.view.figures.tag_memory import tag_memory
live(tag_memory, queues=(1, 16), driver=["nvme", "null_blk"])"""]

# Wait until a figure of the notebook is what the text says; else return what it is.
SHOWS = """([place, text, patience]) => {
  const made = document.createElement('div');
  made.innerHTML = text;
  return new Promise(done => {
    const begin = performance.now();
    const look = () => {
      const drawn = [...document.querySelectorAll('.widget-html-content')];
      const shown = drawn.filter(each => each.querySelector('.blk'))[place];
      const is = shown ? shown.querySelector('.blk').outerHTML : 'no figure';
      if (is === made.querySelector('.blk').outerHTML) done('');
      else if (performance.now() - begin > 1000 * patience) done(is);
      else setTimeout(look, 50);
    };
    look();
  });
}"""


@pytest.mark.slow
def test_in_jupyterlab(browser, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "figure.ipynb")
    places = {f"JUPYTER_{each}_DIR": str(tmp_path / each) for each in ("CONFIG", "DATA", "RUNTIME")}
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
             "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=t", f"--ServerApp.root_dir={tmp_path}",
             "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            cwd=tmp_path, env=os.environ | HERE | places, stdout=out, stderr=subprocess.STDOUT)
    try:
        address = address_in(log)
        page = patient(browser.new_page())
        page.goto(f"{address}/tree/figure.ipynb?token=t")
        page.get_by_text("| Idle").wait_for()  # before that, a cell that is run does nothing
        page.get_by_text("from blkmodel.live").first.click()
        tried = ((machine_to_queues, "cpus", 8), (tag_memory, "queues", 4))  # what is moved, and where it begins
        for word in "machine_to_queues", "tag_memory":
            page.locator(".jp-CodeCell.jp-mod-active", has_text=f"live({word},").wait_for()
            page.keyboard.press("Shift+Enter")
        for place, (view, moved, before) in enumerate(tried):
            handle = page.locator(".noUi-handle").nth(place)
            handle.wait_for()

            def shows(view=view, place=place, **values):
                assert page.evaluate(SHOWS, [place, view(**values), PATIENCE]) == ""

            shows()
            handle.focus()
            page.keyboard.press("ArrowRight")
            shows(**{moved: before + 1})
            page.locator(".widget-dropdown select").nth(place).select_option("null_blk")
            shows(**{moved: before + 1, "driver": "null_blk"})
            page.get_by_role("button", name="Reset").nth(place).click()
            shows()
        page.close()
    finally:
        end(lab)
