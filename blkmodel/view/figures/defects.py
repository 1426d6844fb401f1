"""Where the reference kernel itself errs, as a list: what it does, what the model does, what mended it, and a test.

    HTML(errors())
"""

from html import escape
from itertools import groupby

from blkmodel.reference.source import defects
from blkmodel.view.draw import panel, source_links
from blkmodel.view.figures.tour import worded

_COMMIT = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id="


def errors():
    """All of them, file by file."""
    parts = []
    for file, found in groupby(defects(), lambda each: each.file):
        parts.append(f"<p><strong>{escape(file)}</strong></p><dl>{''.join(map(_item, found))}</dl>")
    return panel("blk-errs", "Where Linux 5.4 itself errs", "defects", *parts)


def _item(each):
    commit, _, release = each.mended.partition(" ")
    mended = "We know of no commit that mended it." if commit == "-" else (
        f'Mended by <a href="{_COMMIT}{commit}">{commit}</a> in Linux {release.strip("()")}.')
    test = escape(each.test.removeprefix("tests/"))
    return (f"<dt>{escape(each.function)}{source_links(each.function, each.file)}</dt>"
            f"<dd>It {worded(each.kernel)}. The model {worded(each.model)}."
            f'<span class="dim">{mended} Test: {test}</span></dd>')
