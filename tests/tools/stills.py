"""Stills: beside each stored figure a picture of it, for those who show notebooks without style and SVG.

GitHub takes both out of a notebook's HTML; so does JupyterLab, while nobody trusts the notebook. A still is an output
of its own, of the type image/png and nothing else: nbval does not compare it, the book leaves it out, and where a
figure has kept its style, that hides it. Its metadata says which HTML it shows, so it is drawn anew only when that has
changed. So a second `make outputs` changes nothing, and only a figure that is new needs Chromium.
"""

import base64
import io
import os
import shutil
from hashlib import sha256

import nbformat
from PIL import Image

COLOURS, WIDTH, HIGHEST = 32, 680, 1200
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu"]
PAGE = """<!doctype html><html data-theme="light"><meta charset="utf-8"><style>body{{margin:0;background:#fff;
font:16px/1.5 sans-serif}}.blk-status,form{{display:none}}#all{{padding:8px;width:{width}px}}</style>
<div id="all">{html}</div></html>"""


def is_figure(output):
    """Whether an output is a figure that cannot do without style: a drawing, or one that answers to its reader."""
    html = output.get("data", {}).get("text/html", "")
    return 'class="blk' in html and ("<svg" in html or "blk-live" in html)


def key_of(output):
    """What a still of this output says that it shows."""
    return sha256(output["data"]["text/html"].encode()).hexdigest()[:16]


def stills_of(notebook):
    """Key → the still, of those that a notebook has."""
    return {output.metadata.still: output for cell in notebook.cells for output in cell.get("outputs", ())
            if "still" in output.get("metadata", {})}


def add(notebook, have):
    """Put a still behind each figure, one of those that there are (key → still) if it shows the same."""
    wanted = {key_of(output): output["data"]["text/html"] for cell in notebook.cells
              for output in cell.get("outputs", ()) if is_figure(output)}
    have = have | drawn({key: html for key, html in wanted.items() if key not in have})
    for cell in notebook.cells:
        if cell.get("outputs"):
            cell.outputs = [each for output in cell.outputs if "still" not in output.get("metadata", {})
                            for each in ([output, have[key_of(output)]] if is_figure(output) else [output])]


def drawn(wanted):
    """Draw stills in Chromium: key → HTML gives key → output."""
    if not wanted:
        return {}
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise SystemExit("A figure has changed, and its still has to be drawn: that needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH + 16, "height": HIGHEST})
        found = {}
        for key, html in wanted.items():
            page.set_content(PAGE.format(width=WIDTH, html=html))
            found[key] = nbformat.v4.new_output("display_data", {"image/png": small(page.locator("#all").screenshot())},
                                                metadata={"still": key})
        browser.close()
    return found


def small(png):
    """A picture in few colours, and no higher than a reader will scroll, as base64."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, HIGHEST)))
    file = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
