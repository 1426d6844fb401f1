"""The editor of a cell: it comes with the first edit, completes and explains, and can be done without."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from tests.book.access import violations
from tests.book.conftest import SITE, Visit
from tests.book.live import Firefox, until
from tests.book.test_cells import Cell, page

__all__ = ["page"]
pytestmark = pytest.mark.site

# Python is there, and has nothing to do: it has answered the first question, which the page itself asks.
READY = "() => blkPage.interpreter.ready && !blkPage.interpreter.waiting.size"


@pytest.fixture
def visit(browser, origins):
    with Visit(browser, origins) as visit:
        yield visit


class Editor(Cell):
    """A cell's editor, with what floats over it."""

    def __init__(self, page, name="fair-code"):
        super().__init__(page, name)
        # One that waits for what comes next takes no keys.
        self.list = self.root.locator(".cm-tooltip-autocomplete:not(.cm-tooltip-autocomplete-disabled) > ul")
        self.any_list = self.root.locator(".cm-tooltip-autocomplete")
        self.told = self.root.locator(".cm-tooltip-hover .blk-told")

    def ready(self, text=""):
        """Wait until Python answers; write a text."""
        self.edit()
        self.page.wait_for_function(READY)
        self.write(text)
        return self

    def type(self, text):
        self.page.keyboard.type(text)

    def press_keys(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def offers(self, label):
        """The option of that label, once it is there."""
        exact = self.page.locator(".cm-completionLabel", has_text=re.compile(f"^{label}$"))
        shown = self.list.locator("li").filter(has=exact)
        shown.wait_for()
        self.page.wait_for_timeout(150)  # a key that comes too soon is not for the list
        return shown


def test_it_comes_with_the_first_edit(page, origins):
    """In the place of the code, of the same size and colours; it is one file."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    assert not [url for url in asked if "/editor." in url]
    cell = Editor(page)
    colours = "(root, code) => [...root.querySelectorAll(code)].map(e => [e.textContent, getComputedStyle(e).color])"
    before, box = cell.root.evaluate(colours, "pre span:not(:empty, .w)"), cell.root.bounding_box()
    text = cell.text()
    cell.press("edit")
    cell.code.wait_for()
    assert cell.text() == text
    assert cell.code.get_attribute("aria-label") == "Code of cell fair-code. Escape, then Tab, leaves it."
    assert page.evaluate("document.activeElement.className.includes('cm-content')")
    until(lambda: abs(cell.root.bounding_box()["height"] - box["height"]) < 3, page=page)  # nothing jumps
    known = dict(map(tuple, before))
    both = {"from", "import", "def", "share", "print", "for", "in", "12", "=", '"nvme"', "queue_of"} & known.keys()
    assert len(both) > 8

    def of_both():
        after = dict(map(tuple, cell.root.evaluate(colours, ".cm-line span")))
        return {each: after.get(each) for each in both}

    until(of_both, {each: known[each] for each in both}, page)
    assert len([url for url in asked if "/editor." in url]) == 1
    cell.press("edit")
    expect(cell.code, "what was not changed is closed by the same button").to_have_count(0)


def test_what_was_begun_in_the_plain_field_goes_on(visit, origins):
    page = visit.page
    held = []
    page.route("**/engine/editor.*.js", lambda route: held.append(route))
    page.goto(f"{origins['http']}/book/which-queue.html")
    cell = Editor(page)
    cell.press("edit")
    cell.root.locator("textarea").fill("first = 1\n")
    cell.press_keys("Control+Home")
    cell.type("zeroth = 0\n")
    cell.has("zeroth = 0\nfirst = 1\n")
    until(lambda: held, page=page)[0].continue_()
    cell.code.wait_for()
    cell.type("half = 1 / 2\n")
    cell.has("zeroth = 0\nhalf = 1 / 2\nfirst = 1\n")
    mine = page.locator("#cell-ex-deal-mine")
    assert mine.locator(".cm-content").count(), "those that are open have it, too"
    visit.check()


@pytest.mark.parametrize("plain", [False, True], ids=["editor", "plain"])
def test_the_keyboard(visit, origins, plain):
    """Both fields have the same keys. Without the editor's script, all but its hints is there."""
    page = visit.page
    if plain:
        page.route("**/engine/editor.*.js", lambda route: route.abort())
    page.goto(f"{origins['http']}/book/which-queue.html")
    cell = Editor(page)
    if plain:
        cell.press("edit")
        cell.root.locator("textarea").fill("")
    else:
        cell.write("")
    cell.press_keys("i", "f", "Space", "1", ":", "Enter", "2", "Enter", "Shift+Tab", "3", "Tab", "4")
    cell.has("if 1:\n    2\n3   4")
    cell.press_keys("Control+z")
    until(lambda: cell.text() != "if 1:\n    2\n3   4", page=page)
    cell.press_keys("Control+Shift+Z")
    cell.has("if 1:\n    2\n3   4")
    cell.press_keys("Control+a", "Tab")
    cell.has("    if 1:\n        2\n    3   4")
    cell.press_keys("Shift+Tab")
    cell.has("if 1:\n    2\n3   4")
    cell.press_keys("Escape", "Tab")
    until(lambda: page.evaluate("document.activeElement.dataset.do"), "run", page)
    cell.press_keys("Shift+Tab", "Control+a")
    page.keyboard.insert_text("print(6)")
    cell.press_keys("Shift+Enter")
    cell.hears("It ran.")
    assert cell.gives() == ["6"]
    page.keyboard.insert_text(" + 1")
    cell.press_keys("Control+Enter")
    cell.hears("It failed.")
    assert cell.text() == "print(6) + 1", "keys that run it do not change it"
    page.reload()
    assert cell.text() == "print(6) + 1"
    if plain:
        assert cell.root.locator("textarea").input_value() == "print(6) + 1"
        assert [each for each in visit.errors if "ERR_FAILED" not in each] == []
    else:
        visit.check()


def test_it_completes(page):
    """What is imported, what this cell and those above define, attributes, parameters; the enter key is nobody's."""
    cell = Editor(page).ready()
    cell.type("from blk")
    assert cell.offers("blkmodel").inner_text() == "blkmodel\nmodule"
    cell.press_keys("Tab")
    cell.type(".sim import boot")
    assert cell.offers("booted").locator(".cm-completionDetail").inner_text().startswith("(")
    cell.press_keys("ArrowDown")
    info = cell.root.locator(".cm-completionInfo")
    info.wait_for()
    chosen = cell.list.locator("[aria-selected] .cm-completionLabel").inner_text()
    assert info.inner_text().startswith(f"{chosen}(on: ")
    cell.press_keys("Enter")
    cell.has(f"from blkmodel.sim import {chosen}")
    cell.write("import blkmodel\nkernel = blkmodel.boot(4)\n")
    cell.run("It ran.")
    cell.code.focus()
    cell.press_keys("Control+End")
    cell.type("kernel.nr_")
    assert cell.offers("nr_cpu_ids").inner_text() == "nr_cpu_ids\n4"
    cell.press_keys("Enter")
    until(lambda: cell.text().endswith("kernel.nr_\n"), page=page)  # nothing was chosen
    cell.type("queue_of(dri")
    cell.offers("driver=")
    cell.press_keys("Tab")
    cell.type("'nv")
    page.wait_for_timeout(600)
    assert not cell.any_list.count(), "nothing is completed in a text"
    assert cell.text().endswith("\nqueue_of(driver='nv")
    cell.type("me', ")
    cell.press_keys("Control+Space")
    cell.offers("queues=")
    assert "driver=" not in cell.list.locator(".cm-completionLabel").all_inner_texts()
    cell.press_keys("Escape")
    expect(cell.any_list).to_have_count(0)
    assert page.evaluate("document.activeElement.className.includes('cm-content')")
    cell.press_keys("Tab")
    assert page.evaluate("document.activeElement.className.includes('cm-content')"), "Escape has closed the list"


# What is announced is there for 200 ms: keep it, and whether the same is then shown.
LISTEN = """root => {
  const announced = root.querySelector('.cm-announced');
  window.heard = [];
  new MutationObserver(() => {
    const said = announced.textContent.trim();
    if (said) heard.push([said, root.querySelector('.blk-told') !== null]);
  }).observe(announced, {childList: true, characterData: true, subtree: true});
}"""


def test_it_says_what_a_name_is(page):
    """Under the pointer, and by a key; the link leads to the source."""
    cell = Editor(page).ready("import blkmodel\nblkmodel.boot(4)")
    cell.root.locator(".cm-line").nth(1).hover(position={"x": 16 + 8 * 11, "y": 8})
    cell.told.wait_for()
    words = cell.told.inner_text()
    assert words.startswith("boot(on: Machine | int = 4, seed: int = 0) -> Kernel")
    assert "Boot a kernel on a machine" in words
    link = cell.told.locator("a")
    assert link.inner_text() == "blkmodel/sim/kernel.py"
    address, _, anchor = link.evaluate("link => link.href").partition("#")
    assert address.endswith("/model/sim/kernel.html")
    assert f'id="{anchor}"' in (SITE / "model" / "sim" / "kernel.html").read_text("utf8")
    cell.press_keys("Escape")
    expect(cell.told).to_have_count(0)
    page.mouse.move(0, 0)
    cell.root.evaluate(LISTEN)
    cell.code.focus()
    cell.press_keys("Control+End", "ArrowLeft", "ArrowLeft", "ArrowLeft", "Control+i")
    cell.told.get_by_text("boot(on: ").wait_for()
    [(heard, shown)] = until(lambda: page.evaluate("heard"), page=page)
    assert "Boot a kernel" in heard, "who listens hears it"
    assert shown, "and who looks sees it then"
    cell.type("x")
    expect(cell.told).to_have_count(0)


def test_words_of_the_page_until_python_answers(visit, origins):
    """While the interpreter is not there, and while it runs a cell, which it goes on with."""
    page = visit.page
    page.route("**/engine/worker.*", lambda route: route.abort())
    page.goto(f"{origins['http']}/book/which-queue.html")
    cell = Editor(page)
    cell.write("")
    cell.type("queue_")
    cell.offers("queue_of")
    cell.press_keys("Tab")
    until(lambda: re.fullmatch(r"queue_\w+", cell.text()), page=page)
    page.unroute("**/engine/worker.*")
    page.reload()
    loop = Cell(page, "both")
    loop.write("while True: pass")
    loop.run("Running …")
    cell.write("")
    cell.type("share")
    cell.offers("shares")
    assert loop.root.get_attribute("aria-busy") == "true"
    loop.run("Stopped.")


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_everybody_can_use_it(visit, origins, device):
    """In both themes, with what floats over it; and it is not on paper."""
    page = visit.page
    if device == "phone":
        visit.size(390, 844)
    page.goto(f"{origins['http']}/book/which-queue.html")
    cell = Editor(page).ready("import blkmodel\nblkmodel.boot(4)\nfrom blkmodel.sim import ")
    cell.press_keys("Control+Space")
    cell.offers("boot")
    cell.press_keys("ArrowDown")
    cell.root.locator(".cm-completionInfo").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    cell.press_keys("Escape", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowLeft", "Control+i")
    cell.told.wait_for()
    assert violations(page) == []
    box = cell.told.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    page.emulate_media(media="print")
    expect(cell.code).not_to_be_visible()
    expect(cell.root.locator("pre").first).to_be_visible()
    visit.check()


@pytest.mark.xdist_group("firefox")
def test_firefox_edits_and_completes(firefox: Firefox, origins):
    """Under the strict policy."""
    firefox.goto(f"{origins['http']}/book/which-queue.html")
    firefox.evaluate("""async () => {
      const root = document.querySelector('#cell-ex-deal-mine');
      root.blkCell.field.focus();
      root.querySelector('textarea').dispatchEvent(new FocusEvent('focusin')); // a window that nobody sees has none
      const { interpreter } = window.blkPage;
      while (!root.querySelector('.cm-content') || !interpreter.ready || interpreter.waiting.size)
        await new Promise(done => setTimeout(done, 50));
      root.blkCell.field.text = '';
      root.blkCell.field.focus();
    }""")

    def keys(text):
        strokes = [{"type": kind, "value": each} for each in text for kind in ("keyDown", "keyUp")]
        firefox.send("input.performActions", context=firefox.context,
                     actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    keys("import blkmodel\ue007blkmodel.hz_of_no")
    keys("\ue003" * len("hz_of_no") + "boo")
    until(lambda: "boot" in firefox.evaluate("""() => {
      const list = document.querySelector('.cm-tooltip-autocomplete:not(.cm-tooltip-autocomplete-disabled)');
      return list ? [...list.querySelectorAll('.cm-completionLabel')].map(each => each.textContent) : [];
    }"""))
    time.sleep(0.15)  # a key that comes too soon is not for the list
    keys("\ue004(3).nr_cpu_ids")
    found = firefox.evaluate("""async () => {
      const cell = document.querySelector('#cell-ex-deal-mine').blkCell;
      await cell.run();
      return [cell.source, cell.outputs.map(each => each.data['text/plain'])];
    }""")
    assert found == ["import blkmodel\nblkmodel.boot(3).nr_cpu_ids", ["3"]]
    assert [each for each in firefox.errors if ".html" not in each] == []
    assert [r for r in firefox.requests if not r.startswith((origins["http"], "data:", "about:"))] == []


def test_licences_of_what_is_in_it(site):
    """Each package that was bundled has its own beside the script."""
    engine = site / "_static" / "engine"
    [script] = engine.glob("editor.*.js")
    assert "editor.licences.txt" in script.read_text("utf8")[:200]
    texts = (engine / "editor.licences.txt").read_text("utf8")
    for name in ("@codemirror/autocomplete", "@codemirror/lang-python", "@codemirror/state", "@codemirror/view",
                 "@lezer/lr", "@lezer/python", "style-mod", "w3c-keyname", "zstddec", "Zstandard"):
        head = r"((MIT|The MIT|BSD) License.*\n\n(For .*\n\n)?)?Copyright"
        assert re.search(rf"^{re.escape(name)}\n\n{head}", texts, re.MULTILINE), name
