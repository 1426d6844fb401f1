"""The built book, read from disk and served over HTTP, and a browser to visit it with."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from tests.book.live import PATIENCE, Firefox

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]

# How many times as long a page's own thread is to take as it would: what only a slow machine shows, shows here.
SLOW = float(os.environ.get("BLKMODEL_SLOW", "1"))

# Most engines of the tests answer a few questions and are gone: to compile them well would take longer than they run.
HASTE = "--js-flags=--liftoff-only"


def pages():
    """Every page of the site, by its path; without a site, one name that fails with the reason."""
    found = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts)
    return found or ["index.html"]


def visited():
    """The pages that a browser opens. Those of the model's source differ in nothing but their text, which test_site.py
    reads in full: of them, their list and one that is neither long nor short."""
    model = [page for page in pages() if page.startswith("model/")]
    model.sort(key=lambda page: (SITE / page).stat().st_size)
    some = {"model/modules.html", *model[len(model) // 2:][:1]}
    return [page for page in pages() if page not in model or page in some]


@pytest.fixture(scope="session")
def site():
    if not (SITE / ".built").exists():
        pytest.fail("The book is not built: make book", pytrace=False)
    return SITE


def policy():
    """The content security policy that the README gives to who hosts the book."""
    found = re.search(r"Content-Security-Policy: (.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    return " ".join(found[1].split())


class Strict(http.server.SimpleHTTPRequestHandler):
    """A server as the README describes it."""

    def end_headers(self):
        self.send_header("Content-Security-Policy", policy())
        super().end_headers()

    def log_message(self, *args):
        pass


class Plain(Strict):
    """A server that cannot be told to send a policy."""

    def end_headers(self):
        http.server.SimpleHTTPRequestHandler.end_headers(self)


class Server(http.server.ThreadingHTTPServer):
    """A page asks for many files at once; none is turned away while the machine has other work."""

    request_queue_size = 128


@contextlib.contextmanager
def served(place, with_policy=True):
    """Serve a directory, as a rule under the strict policy; yields its address."""
    handler = functools.partial(Strict if with_policy else Plain, directory=str(place))
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def origins(site):
    """The two ways to read the book: from the file system, and from a web server on this machine."""
    with served(site) as address:
        yield {"file": site.as_uri(), "http": address}


def program(variable, *names):
    """Where a browser is: what the environment says, or the first of these programs; a test fails without it."""
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.fail(f"{variable.title()} is missing. On Debian: apt-get install {names[0]}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def browser(request):
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    chromium = program("CHROMIUM", "chromium", "google-chrome")
    with sync_playwright() as playwright:
        haste = [] if request.config.getoption("benchmark_only") else [HASTE]
        chrome = playwright.chromium.launch(executable_path=chromium, args=FLAGS + haste)
        yield chrome
        chrome.close()


@pytest.fixture(scope="session")
def one_firefox(tmp_path_factory):
    started = Firefox(program("FIREFOX", "firefox-esr", "firefox"), tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def firefox(one_firefox):
    """It is started once; account of what it asks for and complains of begins anew."""
    one_firefox.goto("about:blank")
    one_firefox.errors.clear()
    one_firefox.requests.clear()
    return one_firefox


def patient(page):
    """A page that is waited for, however slow this machine is just now."""
    page.set_default_timeout(1000 * PATIENCE)
    if SLOW > 1:
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOW})
    return page


# Nothing that other pages have kept is there: done exercises, words that a search has marks for.
FORGET = "() => location.protocol === 'about:' || localStorage.clear()"


class Visit:
    """A page that keeps account of what it asks for and what goes wrong."""

    def __init__(self, browser, origins):
        self.own = (*origins.values(), "data:", "blob:")
        self.begin()
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        self.page = patient(self.context.new_page())
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))

    def open(self, address):
        """Go to a page as its reader comes to it: at a desk, in the light theme, for the first time. Account begins
        anew."""
        self.page.evaluate(FORGET)
        self.page.goto("about:blank")  # what the page before still asks for is not counted
        self.begin()
        self.size(1280)
        self.page.emulate_media(color_scheme="light")
        self.page.goto(address)
        return self.page

    def size(self, width, height=900):
        """Give the window a size; come back when the page has it."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height",
                                    arg=[width, height])

    def begin(self):
        self.asked: set[str] = set()
        self.elsewhere: list[str] = []
        self.errors: list[str] = []

    def _request(self, request):
        self.asked.add(urldefrag(request.url)[0].partition("?")[0])
        if not request.url.startswith(self.own):
            self.elsewhere.append(request.url)

    def _response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def _failed(self, request):
        if request.failure != "net::ERR_ABORTED":  # the window went on to the next page
            self.errors.append(f"{request.failure}: {request.url}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.context.close()

    def check(self):
        assert not self.elsewhere
        assert not self.errors


@pytest.fixture(scope="session")
def window(browser, origins):
    """One window for all pages: what they share is read once."""
    with Visit(browser, origins) as visit:
        yield visit
