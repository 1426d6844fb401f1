"""What a book has where it is published: a small one is built with all settings of a fork. And what it has anyway."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from html import unescape
from importlib.metadata import version

import pytest
from PIL import Image

from tests.book.conftest import ROOT, Visit, pages, policy, served
from tests.book.live import figures
from tests.tools import archive, links

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("published")]  # the small book is built once

URL, REPOSITORY = "https://someone.example/blk/", "https://github.com/someone/blk"
META = re.compile(r'<meta (?:name|property|http-equiv)="([^"]+)" content="([^"]*)" ?/?>')


@pytest.fixture(scope="module")
def published(site, tmp_path_factory):
    """The first page, a chapter and a page that is no notebook, with every setting on."""
    place = tmp_path_factory.mktemp("fork")
    (place / "_config.yml").write_bytes((ROOT / "_config.yml").read_bytes())
    (place / "_toc.yml").write_text(json.dumps({"format": "jb-book", "root": "book/index", "chapters": [
        {"file": "book/start"}, {"file": "book/reading"}]}))
    (place / "book").symlink_to(ROOT / "book")
    settings = {"BOOK_URL": URL.rstrip("/"), "BOOK_REPOSITORY": REPOSITORY, "BOOK_BRANCH": "trunk",
                "BOOK_LAUNCH": "binder colab", "BOOK_POLICY": "1"}
    program = os.path.join(os.path.dirname(sys.executable), "jupyter-book")
    done = subprocess.run([program, "build", ".", "-q", "--keep-going"], cwd=place, env=os.environ | settings,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "_build" / "html"


def said(page):
    return {name: unescape(content) for name, content in META.findall(page.read_text("utf8"))}


def test_every_page_has_one_viewport_and_no_inline_script(site):
    texts = {page: (site / page).read_text("utf8") for page in pages()}
    assert [page for page, text in texts.items() if text.count('<meta name="viewport"') != 1] == []
    assert [page for page, text in texts.items() if re.search(r"<script(?![^>]* src=)", text)] == []


def test_every_chapter_is_described_in_words_of_its_own(site):
    found = {page: said(site / page).get("description", "") for page in pages() if page.startswith("book/")}
    assert [page for page, words in found.items() if not 20 < len(words) <= 301] == []
    assert len(set(found.values())) == len(found)


def test_a_book_that_nobody_published_names_no_address_of_its_own(site):
    text = (site / "book" / "start.html").read_text("utf8")
    assert "canonical" not in text
    assert "og:url" not in text
    assert "og:image" not in text
    assert "Report an error" not in text
    assert "Content-Security-Policy" not in text
    assert not (site / "sitemap.xml").exists()


def test_pages_say_where_they_are_and_show_their_own_figure(published):
    shown = set()
    for name in ("index", "start"):
        page = published / "book" / f"{name}.html"
        words = said(page)
        assert words["og:url"] == f"{URL}book/{name}.html"
        assert f'<link rel="canonical" href="{URL}book/{name}.html" />' in page.read_text("utf8")
        picture = Image.open(published / words["og:image"].removeprefix(URL))
        assert picture.width / picture.height == pytest.approx(1200 / 630, abs=0.01)
        assert len(picture.getcolors(1 << 20)) > 3, "an empty picture"
        shown.add(picture.tobytes())
    assert len(shown) == 2
    assert f"<loc>{URL}book/start.html</loc>" in (published / "sitemap.xml").read_text()
    assert f'href="{URL}book/start.html"' in (published / "404.html").read_text()


def test_the_policy_in_the_page_is_the_readme_s_but_for_what_only_a_server_can_say(published):
    in_page = said(published / "book" / "start.html")["Content-Security-Policy"]
    assert f"{in_page}; frame-ancestors 'none'" == policy()


def test_a_page_works_under_the_policy_that_it_says_itself(browser, published):
    with served(published, with_policy=False) as address, Visit(browser, {"http": address}) as visit:
        visit.page.goto(f"{address}/book/start.html")
        figure = figures(visit.page.evaluate)[0]
        figure.check(queues=1)
        visit.check()
        visit.page.wait_for_url(re.compile("queues=1"))
        report = visit.page.locator("a[data-report]")
        report.evaluate("link => { link.addEventListener('click', event => event.preventDefault()); link.click(); }")
        assert "queues%3D1" in report.get_attribute("href"), "it does not say in which state the page is"
        visit.page.evaluate("""document.head.append(Object.assign(document.createElement('script'),
                                                                  {text: 'window.got = 1'}))""")
        assert visit.page.evaluate("window.got") is None, "the page's own policy is not in force"


def test_a_fork_names_its_repository_and_where_to_run(published):
    text = unescape((published / "book" / "start.html").read_text("utf8"))
    assert f'href="{REPOSITORY}/edit/trunk/book/start.ipynb"' in text
    assert 'href="https://mybinder.org/v2/gh/someone/blk/trunk?urlpath=lab%2Ftree%2Fbook%2Fstart.ipynb"' in text
    assert 'href="https://colab.research.google.com/github/someone/blk/blob/notebooks/start.ipynb"' in text
    assert f'href="{REPOSITORY}/issues/new?' in text
    other = (published / "book" / "reading.html").read_text("utf8")
    assert f'href="{REPOSITORY}/edit/trunk/book/reading.md"' in other
    assert "mybinder" not in other


@pytest.mark.parametrize("way", ["published", "site"])
def test_a_chapter_is_there_as_a_notebook(way, request):
    place = request.getfixturevalue(way)
    stored = json.loads((ROOT / "book" / "start.ipynb").read_text("utf8"))["cells"]
    taken = json.loads((place / "book" / "start.ipynb").read_text("utf8"))["cells"]
    own = [cell["id"] for cell in taken if cell["id"] not in ("install", "live-page")]
    assert own == [cell["id"] for cell in stored if cell["id"] != "live-page"]
    install = next(cell["source"] for cell in taken if cell["id"] == "install")
    assert re.search(r'%pip install -q "blkmodel\[book\](.*)"', install)[1] == (
        f" @ {URL}blkmodel-{version('blkmodel')}-py3-none-any.whl" if way == "published" else "")
    text = "".join("".join(cell["source"]) for cell in taken if cell["cell_type"] == "markdown")
    assert "_build" not in text
    assert 'href="../model/' not in text or way == "site"


def test_the_archive_is_the_site_for_reading_from_disk(published, tmp_path):
    archive.pack(published, tmp_path / "book.zip")
    archive.pack(published, tmp_path / "again.zip")
    assert (tmp_path / "book.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "book.zip") as packed:
        packed.extractall(tmp_path)
    place = tmp_path / archive.FOLDER
    here, there = ({path.relative_to(root).as_posix() for path in root.rglob("*.html")} for root in (place, published))
    assert here == there - {"404.html"}
    assert "Content-Security-Policy" not in (place / "book" / "start.html").read_text("utf8")


def test_a_figure_of_the_archive_moves(browser, published, tmp_path):
    archive.pack(published, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as packed:
        packed.extractall(tmp_path)
    place = tmp_path / archive.FOLDER
    with Visit(browser, {"file": place.as_uri()}) as visit:
        visit.page.goto(f"{place.as_uri()}/book/start.html")
        figures(visit.page.evaluate)[0].check(queues=1)
        visit.check()


def test_the_link_check_tells_what_is_gone(tmp_path, capsys):
    (tmp_path / "there.html").write_text("<p>here</p>")
    with served(tmp_path) as address:
        (tmp_path / "page.html").write_text(
            f'<a class="x" href="{address}/there.html#part">a</a><a href="{address}/lost.html?a=1&amp;b=2">b</a>'
            '<a href="page.html">own</a><a href="http://127.0.0.1:9/">nobody answers</a>')
        assert links.main(tmp_path, pause=0) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 addresses: 1 gone, 1 unclear"
    assert f"gone: 404\t{address}/lost.html?a=1&b=2\tpage.html" in lines
