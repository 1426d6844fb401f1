"""Where the reference kernel itself errs, as a list: what it does, what the model does, what mended it, and a test.

    HTML(errors())
"""

from html import escape
from itertools import groupby

from blkmodel.reference.source import defects
from blkmodel.view.draw.call_tree import source_links
from blkmodel.view.draw.figure import STYLE
from blkmodel.view.figures.tour import worded

_STYLE = (
    ".blk-errs{font-size:13px;line-height:1.5}.blk-errs p{margin:1em 0 .2em}.blk-errs dl{margin:0}.blk-errs dt{"
    "position:relative;padding-right:5rem;font:600 13px/24px var(--blk-code)}.blk-errs dt .blk-links{position:absolute;"
    "top:0;right:0}.blk-errs dd{margin:0 0 .7em 1.1em}"
    ".blk-errs code{font:inherit;font-family:var(--blk-code)}"
    ".blk-errs .dim{display:block;color:var(--blk-dim);font-size:12px;overflow-wrap:anywhere}"
)
_COMMIT = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id="


def errors():
    """All of them, file by file."""
    parts = []
    for file, found in groupby(defects(), lambda each: each.file):
        items = "".join(map(_item, found))
        parts.append(f"<p><strong>{escape(file)}</strong></p><dl>{items}</dl>")
    return ('<div class="blk blk-errs" role="group" aria-label="Where Linux 5.4 itself errs">'
            f"<style>{STYLE}{_STYLE}</style>{''.join(parts)}</div>")


def _item(each):
    commit, _, release = each.mended.partition(" ")
    mended = "We know of no commit that mended it." if commit == "-" else (
        f'Mended by <a href="{_COMMIT}{commit}">{commit}</a> in Linux {release.strip("()")}.')
    test = escape(each.test.removeprefix("tests/"))
    return (f"<dt>{escape(each.function)}{source_links(each.function, each.file)}</dt>"
            f"<dd>It {worded(each.kernel)}. The model {worded(each.model)}."
            f'<span class="dim">{mended} Test: {test}</span></dd>')
