"""Cells in the page: each of the book gives what is stored of it; a reader changes one, stops one, answers with one.

Those of the book are run by test_browser.py, which visits each page; in Firefox those of one chapter, and of all with
`BLKMODEL_FIREFOX=all pytest tests/book/test_cells.py -k in_firefox`.
"""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.book.access import violations
from tests.book.conftest import ROOT, SITE, Visit, patient
from tests.book.live import Figure, Firefox, until
from tests.tools.outputs import chapters

pytestmark = pytest.mark.site

# A page has no matplotlib and no networkx, so it draws no charts and no graphs; one cell uses what such a one defines.
NOT_HERE = re.compile(r"^\s*(from|import) (blkmodel\.live\.(chart|graphs)|matplotlib|networkx)\b", re.MULTILINE)
GO_ON = {("which-queue", "shares")}
LENGTHS = re.compile(re.search(r"regex: (.*)", (ROOT / "tests" / "tools" / "sanitize.cfg").read_text())[1])

RUN_ALL = """async () => {
  const found = {};
  for (const root of document.querySelectorAll('div.cell[id^=cell-]:not(.blk-own)')) {
    const cell = root.blkCell;
    await cell.run();
    found[cell.name] = {outputs: cell.outputs, absent: cell.absent, says: cell.status.textContent,
                        fresh: Boolean(cell.fresh), stays: !cell.stored || !cell.stored.hidden};
  }
  return found;
}"""


def given(output):
    """What counts of an output, stored or given in a page: how it is shown, and the text."""
    if output["output_type"] == "stream":
        return output["name"], LENGTHS.sub("N lines", "".join(output["text"]))
    if output["output_type"] == "error":
        return "error", "\n".join(output["traceback"])
    mime = next(each for each in ("text/html", "image/svg+xml", "text/plain") if each in output["data"])
    return mime, LENGTHS.sub("N lines", "".join(output["data"][mime]))


def cells(chapter):
    notebook = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text("utf8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def compare(chapter, found):
    """Fail unless each cell of a chapter gave in a page what is stored of it."""
    differ = {}
    for cell in cells(chapter):
        name, source, got = cell["id"], "".join(cell["source"]), found[cell["id"]]
        if NOT_HERE.search(source) or (chapter, name) in GO_ON:
            assert set(got["absent"]) <= {"matplotlib", "networkx"}
            assert got["absent"]
            assert "it runs in JupyterLab" in got["says"]
            assert got["stays"], "the stored picture is still there"
            continue
        stored = [given(output) for output in cell["outputs"] if "still" not in output.get("metadata", {})]
        gave = got["outputs"] and [given(output) for output in got["outputs"]]
        if (gave or []) != stored:
            differ[chapter, name] = (got["says"], stored, gave)
        elif any("blk-live" in text for _, text in stored):
            assert not got["fresh"], "a live figure that is as it was stays where it is"
    assert not differ


ALL = os.environ.get("BLKMODEL_FIREFOX") == "all"


@pytest.mark.xdist_group("firefox")
@pytest.mark.parametrize("chapter", [path.stem for path in chapters()] if ALL else ["mapped-device"])
def test_a_chapter_in_firefox(firefox: Firefox, origins, chapter):
    firefox.goto(f"{origins['http']}/book/{chapter}.html")
    compare(chapter, firefox.evaluate(RUN_ALL))
    # Firefox would read what a page says is next, and the policy forbids it.
    assert [each for each in firefox.errors if not re.search(r"/book/[\w-]+\.html", each)] == []
    assert [r for r in firefox.requests if not r.startswith((origins["http"], "data:", "about:"))] == []


@pytest.fixture(params=["file", "http"])
def page(request, browser, origins):
    """The page of a chapter, from disk and over HTTP."""
    with Visit(browser, origins) as visit:
        visit.page.goto(f"{origins[request.param]}/book/which-queue.html")
        yield visit.page
        # Chromium tells that the policy forbids a handler even where it is parsed only to be taken out.
        visit.errors = [each for each in visit.errors if "inline event handler" not in each]
        visit.check()


class Cell:
    """A cell of a page, as a reader has it."""

    def __init__(self, page, name):
        self.root = page.locator(f"#cell-{name}")
        self.page = page
        self.field = self.root.locator("textarea, .cm-content")  # the plain one, or what comes in its place
        self.says = self.root.locator("[role=status]")
        self.code = self.root.locator(".cm-content")
        self.fresh = self.root.locator(".blk-fresh")

    def press(self, button):
        self.root.locator(f"[data-do={button}]").click()

    def write(self, text):
        self.edit()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text) if text else self.page.keyboard.press("Delete")
        self.has(text)

    def edit(self):
        """Go into the editor, which comes with the first edit."""
        if self.field.count():
            self.field.focus()
        else:
            self.press("edit")
        self.code.wait_for()
        self.code.focus()

    def text(self):
        return self.root.evaluate("root => root.blkCell.source")

    def has(self, text):
        """Come back when that is its text."""
        until(self.text, text, self.page)

    def run(self, says):
        self.press("run")
        self.hears(says)

    def gives(self):
        return [each.strip() for each in self.fresh.locator("pre").all_inner_texts()]

    def hears(self, says):
        self.says.filter(has_text=says).wait_for()


def test_a_changed_cell(page):
    """It gives what its text says now, after those above it; it is there when the reader comes back, until Reset."""
    cell = Cell(page, "fair-code")
    stored = cell.root.inner_text()
    changed = "print('printed')\n[len(queues), share]"
    cell.write(changed)
    cell.run("It failed.")
    assert cell.gives() == ["printed", "line 2\n    [len(queues), share]\nNameError: name 'share' is not defined"]
    changed = "print('printed')\nn = len(queues)\n[n, kernel.cpu]"  # both are of cells above
    cell.write(changed)
    cell.run("It ran.")
    assert cell.gives() == ["printed", "[3, 0]"]
    assert not cell.root.locator(".cell_output:not(.blk-fresh)").is_visible()
    page.reload()
    assert cell.text() == changed
    cell.press("reset")
    assert cell.root.inner_text() == stored
    page.reload()
    assert cell.root.inner_text() == stored


def test_a_changed_figure(page):
    """The new figure answers to its controls; Reset brings back the old one."""
    cell = Cell(page, "map")
    cell.root.locator("summary").first.click()
    cell.run("It ran.")
    assert not cell.fresh.count(), "what is there is what was asked for"
    cell.write("from blkmodel.live import live\nfrom blkmodel.view.figures.tag_memory import tag_memory\n"
               "live(tag_memory, queues=(1, 16))")
    cell.run("It ran.")
    Figure(page.evaluate, "tag_memory").check(queues=5)
    assert not page.locator("[data-figure=machine_to_queues]").first.is_visible()
    cell.press("reset")
    Figure(page.evaluate, "machine_to_queues").check(cpus=3)


def test_an_endless_loop_is_stopped(page):
    cell = Cell(page, "both")
    cell.write("""import time
print('begun')
begin = time.monotonic()
while True:
    if time.monotonic() > begin + 0.5:
        begin += 9e9
        print('going on')""")
    cell.run("Running …")
    assert cell.root.get_attribute("aria-busy") == "true"
    cell.fresh.get_by_text("going on").wait_for()
    cell.run("Stopped.")
    assert cell.gives() == ["begun\ngoing on"], "what it had printed stays"
    after = Cell(page, "absent-code")
    after.run("Running what it builds on: 3 of 3 …")
    after.run("Stopped.")
    cell.write("print(kernel.cpu)")
    cell.run("It ran.")  # and the cells above, anew


def test_an_interpreter_that_a_cell_ends_begins_anew(page):
    cell = Cell(page, "both")
    cell.write("import os\nos._exit(1)")
    cell.run("The interpreter has ended (Program terminated with exit(1)).")
    cell.write("print(kernel.cpu)")
    cell.run("It ran.")  # and the cells above, anew


def test_the_library_comes_when_it_is_asked_for(page):
    """And what there was is still there: the interpreter is the same."""
    cell = Cell(page, "smt")
    cell.run("It ran.")
    cell.write("only_here = 3")
    cell.run("It ran.")
    cell.write("import statistics, nowhere_\n")
    cell.run("This cell needs nowhere_, which a page does not have")
    cell.write("import statistics\nfrom blkmodel.capture import vouched\n"
               "(only_here, statistics.mean([1, 2]), vouched.KINDS)")
    cell.run("It ran.")
    assert cell.gives() == ["(3, 1.5, ('calls', 'state', 'source'))"]


def test_a_broken_memory_image_is_done_without(browser, origins):
    with Visit(browser, origins) as visit:
        visit.page.route("**/heap.*", lambda route: route.fulfill(body=b"not packed"))
        visit.page.goto(f"{origins['http']}/book/which-queue.html")
        cell = Cell(visit.page, "both")
        stored = cell.root.locator(".cell_output").inner_text()
        cell.run("It ran.")
        assert cell.fresh.inner_text() == stored


def test_without_an_engine_the_stored_output_stays(browser, origins):
    with Visit(browser, origins) as visit:
        visit.page.route("**/engine/**", lambda route: route.abort())
        visit.page.goto(f"{origins['http']}/book/which-queue.html")
        cell = Cell(visit.page, "both")
        cell.run("The model could not be loaded")
        assert cell.root.locator(".cell_output").is_visible()
        visit.page.unroute("**/engine/**")
        cell.run("It ran.")


def test_what_is_kept_may_be_something_else(browser, origins):
    """Another page of the same origin may keep what it likes under the same name."""
    with Visit(browser, origins) as visit:
        visit.page.add_init_script("localStorage.setItem('blk.cells', '5')")
        visit.page.goto(f"{origins['http']}/book/which-queue.html")
        cell = Cell(visit.page, "both")
        cell.write("print(1)")
        assert cell.root.get_attribute("class").count("blk-edited") == 1
        visit.check()


def test_code_comes_with_a_link_and_waits_for_the_reader(page):
    """What it shows does nothing but show."""
    cell = Cell(page, "fair-code")
    cell.write("""from IPython.display import HTML
HTML('<p onclick="alert(1)">shown<script>alert(2)</script> <a href="javascript:alert(3)">there</a></p>'
     '<img src="data:," onerror="document.title = 4">')""")
    cell.press("link")
    page.wait_for_url("**#cell-fair-code--*")
    code, address = cell.text(), page.url
    cell.press("reset")
    page.goto("about:blank")
    page.goto(address)
    cell.hears("read it before you run it")
    assert cell.text() == code
    assert not cell.fresh.count()
    cell.run("It ran.")
    assert cell.fresh.locator(".output").inner_html() == '<p>shown <a>there</a></p><img src="data:,">'
    cell.write("x" * 7000)
    cell.press("link")
    cell.hears("has room for 6000 letters")


# What is kept of an exercise.
DONE = """id => {
  const pages = JSON.parse(localStorage.getItem('blk.done')) || {};
  return (pages[location.pathname.split('/').pop()] || {})[id] || {};
}"""


def test_exercises_that_are_done(page):
    """A task by its test, a choice by its first two tries, a drawn one by its answer, others by the reader's word."""
    progress = page.locator(".blk-progress")
    own = Cell(page, "ex-deal-mine")
    assert own.text().startswith("def deal(cpus, present, queues):\n    ...\n")
    own.run("Not yet.")
    assert own.gives()[0].endswith("AssertionError: 1 of 1 CPUs, 1 queues: [0]")
    assert progress.inner_text().startswith("0 of 6 exercises done.")
    solved = next("".join(each["source"]) for each in cells("which-queue") if each["id"] == "ex-deal-solved")
    own.write(solved)
    own.run("Passed.")
    assert progress.inner_text().startswith("1 of 6 exercises done")

    choice = page.locator("#exercise-migrated")
    choice.locator("details.choice:not(.right) summary").first.press("Enter")  # where it is does not matter to a key
    choice.locator("details.choice.right summary").press("Enter")
    progress.get_by_text("2 of 6").wait_for()

    page.locator("#exercise-lost input[type=checkbox]").check()
    progress.get_by_text("3 of 6").wait_for()

    figure = Figure(page.evaluate, "which_queue")
    said = figure.set(answer="0")["shown"]
    figure.set(answer=re.search(r"uses queue (\d+)", said)[1])
    progress.get_by_text("4 of 6").wait_for()

    page.reload()
    progress.get_by_text("4 of 6").wait_for()
    progress.get_by_role("button").click()
    assert progress.inner_text() == "0 of 6 exercises done."
    summaries = choice.locator("details.choice:not(.right) summary")
    for number in range(2):
        summaries.nth(number).press("Enter")
        until(lambda number=number: page.evaluate(DONE, "exercise-migrated").get("tries"), number + 1, page)
    choice.locator("details.choice.right summary").press("Enter")
    until(lambda: page.evaluate(DONE, "exercise-migrated").get("over"), True, page)
    page.reload()
    assert progress.inner_text().startswith("0 of 6 exercises done."), "the third try is too late"


def test_everybody_can_use_it(browser, origins):
    """On a phone too, in both themes; on paper and without JavaScript there is nothing of it."""
    with Visit(browser, origins) as visit:
        page = visit.page
        visit.size(390, 844)
        page.goto(f"{origins['file']}/book/which-queue.html")
        cell = Cell(page, "fair-code")
        cell.write("print('long ' * 99)\n1 / 0")
        cell.run("It failed.")
        page.locator("#exercise-lost input[type=checkbox]").check()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        ours = page.locator(".blk-bar, .blk-own, .blk-fresh, .blk-editor, .blk-progress, .blk-mark, .blk-tick")
        page.emulate_media(media="print")
        until(lambda: not any(each.is_visible() for each in ours.all()), page=page)
        assert cell.root.locator(".cell_output:not(.blk-fresh)").is_visible()
    context = browser.new_context(java_script_enabled=False)
    page = patient(context.new_page())
    page.goto(f"{origins['file']}/book/which-queue.html")
    assert page.locator(".cell_input").count()
    assert not page.locator(".blk-bar, .blk-own, .blk-progress, .blk-mark, .blk-tick").count()
    context.close()


def test_cells_have_their_names(origins):
    """Each cell of each notebook can be led to, by the name that it has there."""
    for path in chapters():
        page = (SITE / "book" / f"{path.stem}.html").read_text("utf8")
        found = re.findall(r'<div class="cell [^"]*" id="cell-([^"]*)"', page)
        assert found == [each["id"] for each in cells(path.stem)]
