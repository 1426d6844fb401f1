"""What a book says of itself where it is published, and what a reader can do with a page besides reading it.

Each of these settings of _config.yml can be given by the environment instead, so that a fork changes no file:

* `html_baseurl` (BOOK_URL): where the site is. Pages then have canonical addresses and a picture for those who pass
  them on, and there is a sitemap.
* `book_repository` (BOOK_REPOSITORY) and `book_branch` (BOOK_BRANCH): a repository on GitHub, where a page can be
  edited and an error reported.
* `book_launch` (BOOK_LAUNCH): `binder`, `colab` or both, where a reader may run a chapter of that repository.
* `book_policy` (BOOK_POLICY): whether pages say themselves which policy they keep to, for a host that cannot. Pages
  that are read from disk would not work under it.

Every chapter that is a notebook can be had as one, beside its page.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, urlencode

from docutils import nodes
from PIL import Image
from strict_pages import POLICY

SETTINGS = {"html_baseurl": "BOOK_URL", "book_repository": "BOOK_REPOSITORY", "book_branch": "BOOK_BRANCH",
            "book_launch": "BOOK_LAUNCH", "book_policy": "BOOK_POLICY"}
CARD = (1200, 630)  # what is shown of a picture that is passed on
LONGEST = 300  # letters of a description
DOWNLOADS = {"The book as PDF": "book.pdf", "The site for reading offline": "book.zip"}  # as `make publish` names them
VERSION = version("blkmodel")
WHEEL = f"blkmodel-{VERSION}-py3-none-any.whl"
INSTALL = """\
# Where the package is missing, as on Colab, it is fetched.
try:
    import blkmodel
except ImportError:
    %pip install -q "{package}"\
"""


def settle(app, config):
    for name, variable in SETTINGS.items():
        if variable in os.environ:
            config[name] = os.environ[variable]
    if config.html_baseurl:
        config.html_baseurl = config.html_baseurl.rstrip("/") + "/"
    config.book_repository = config.book_repository.rstrip("/")


def described(doctree):
    """The first paragraph of a page that is more than a remark on where it stands, cut at a sentence."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        if isinstance(paragraph.parent, nodes.section) and not isinstance(paragraph[0], nodes.emphasis):
            text = " ".join(paragraph.astext().replace(" ↗", "").replace("↗", "").split())
            return text if len(text) <= LONGEST else text[:text.rfind(". ", 0, LONGEST) + 1] or f"{text[:LONGEST]}…"
    return ""


def still_of(notebook):
    """The picture of a notebook's first figure, or None: see tests/tools/stills.py."""
    return next((output["data"]["image/png"] for cell in notebook["cells"] for output in cell.get("outputs", ())
                 if "still" in output.get("metadata", {})), None)


def card(png):
    """A picture in the form that is shown of it elsewhere: as wide as it is, and cut off below."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    height = picture.width * CARD[1] // CARD[0]
    whole = Image.new("RGB", (picture.width, height), "white")
    whole.paste(picture, (0, max(0, (height - picture.height) // 2)))
    return whole


def to_take_along(notebook, name, config):
    """A chapter as a notebook that needs nothing but the package; what it needs of the site, it names in full."""
    base = config.html_baseurl
    package = f"blkmodel[book] @ {base}{WHEEL}" if base else "blkmodel[book]"
    source = INSTALL.format(package=package)
    first = {"cell_type": "code", "id": "install", "metadata": {}, "execution_count": None,
             "outputs": [], "source": source}
    cells = [cell for cell in notebook["cells"] if cell["id"] != "live-page"]
    if base:
        text = f"[This chapter as a live page]({base}book/{name}.html): its figures answer to their reader there."
        cells.insert(1, {"cell_type": "markdown", "id": "live-page", "metadata": {}, "source": text})
        for cell in cells:
            if cell["cell_type"] == "markdown":
                cell["source"] = "".join(cell["source"]).replace('"../model/', f'"{base}model/')
    return notebook | {"cells": [*cells[:1], first, *cells[1:]]}


def links(app, pagename, title, notebook):
    """What can be done with a page: (words, address, attributes) of each link."""
    config = app.config
    repository, branch, path = config.book_repository, config.book_branch, f"book/{pagename.rpartition('/')[2]}.ipynb"
    if notebook:
        yield "This chapter as a notebook", f"{pagename.rpartition('/')[2]}.ipynb", " download"
    if config.html_baseurl:
        for words, file in DOWNLOADS.items():
            yield words, config.html_baseurl + file, ""
    if not repository:
        return
    owner = repository.partition("github.com/")[2]
    if notebook and "binder" in config.book_launch:
        place = urlencode({"urlpath": f"lab/tree/{path}"})
        yield "Run on Binder", f"https://mybinder.org/v2/gh/{owner}/{branch}?{place}", ""
    if notebook and "colab" in config.book_launch:
        yield "Run on Colab", f"https://colab.research.google.com/github/{owner}/blob/notebooks/{Path(path).name}", ""
    source = Path(app.env.doc2path(pagename)).relative_to(app.srcdir).as_posix()
    yield "Edit this page", f"{repository}/edit/{quote(branch)}/{source}", ""
    about = urlencode({"title": f"{title}: ", "body": f"Page: {pagename}\nVersion: {VERSION}\n\nWhat is wrong:\n"})
    yield "Report an error", f"{repository}/issues/new?{about}", " data-report"  # book.js adds the reader's state


def add_words(app, pagename, templatename, context, doctree):
    """Give the templates what they say of a page, and write what goes with it."""
    config, out = app.config, Path(app.outdir)
    if config.book_policy:
        context["policy"] = html.escape(POLICY)
    if pagename not in app.env.all_docs:
        return
    source = Path(app.env.doc2path(pagename))
    notebook = json.loads(source.read_text("utf8")) if source.suffix == ".ipynb" else None
    context["description"] = described(doctree)
    title = context["title"]
    if notebook:
        target = out / f"{pagename}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        taken = to_take_along(notebook, source.stem, config)
        target.write_text(json.dumps(taken, ensure_ascii=False, indent=1), "utf8")
    still = still_of(notebook or json.loads((source.parent / "index.ipynb").read_text("utf8")))
    if config.html_baseurl and still:
        place = out / "_static" / "cards"
        place.mkdir(parents=True, exist_ok=True)
        name = f"{source.stem if notebook else 'index'}.png"
        card(still).save(place / name, optimize=True)
        context["figure"] = f"{config.html_baseurl}_static/cards/{name}"
    context["this_page"] = list(links(app, pagename, title, notebook is not None))


NOT_FOUND = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="{up}_static/favicon.svg">
<title>Not found - {title}</title>
<style>
  html {{ color-scheme: light dark; background: Canvas; color: CanvasText }}
  body {{ font: 1.1rem/1.6 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
</style>
<main>
<h1>There is no such page</h1>
<p>It may have been renamed. These are the pages of <a href="{up}book/index.html">{title}</a>;
there is also a <a href="{up}search.html">search</a>.</p>
<ul>{pages}</ul>
</main>
</html>
"""


def write_pages(app, exception):
    """A page for addresses that lead nowhere; and, where it is known where the site is, a list of its pages."""
    if exception is not None or app.builder.format != "html":
        return
    base, title = app.config.html_baseurl, html.escape(app.config.html_title)
    listed = [app.config.root_doc, *app.env.toctree_includes.get(app.config.root_doc, ())]
    items = "\n".join(f'<li><a href="{base}{name}.html">{html.escape(app.env.titles[name].astext())}</a></li>'
                      for name in listed)
    (Path(app.outdir) / "404.html").write_text(NOT_FOUND.format(title=title, up=base, pages=items), "utf8")
    if base:
        urls = "\n".join(f"<url><loc>{base}{name}.html</loc></url>" for name in sorted(app.env.all_docs))
        (Path(app.outdir) / "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}\n</urlset>\n', "utf8")


def setup(app):
    for name, default in (("book_repository", ""), ("book_branch", "main"), ("book_launch", ""), ("book_policy", "")):
        app.add_config_value(name, default, "html")
    app.connect("config-inited", settle)
    app.connect("html-page-context", add_words)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
