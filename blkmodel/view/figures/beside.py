"""What a kernel was recorded to do beside what the model does: two call trees, line by line.

    HTML(beside(side_by_side(document, recording, "irq"), "5.4.120"))
"""

from html import escape

from blkmodel.capture.beside import Line, Row
from blkmodel.view.draw import kernel_url, style, table


def beside(rows: list[Row], release: str) -> str:
    """Draw the rows of `blkmodel.capture.beside`; release: which kernel was recorded.

    What only one side can show is pale: on the left what the model leaves out, on the right what the kernel's tracer
    could not see. A row that differs has a mark.
    """
    theirs, ours = (sum(row[side] is not None for row in rows) for side in (0, 1))
    both = sum(row.theirs is not None and row.ours is not None for row in rows)
    wrong = sum(row.differs for row in rows)
    said = (f"{theirs} calls of the kernel, {ours} of the model; {both} stand side by side"
            + (f", and {wrong} differ." if wrong else ", and none differs."))
    heads = escape(f"Linux {release}, recorded"), "the model"
    return (f'<div class="blk blk-beside" role="group" aria-label="Recorded calls beside the model\'s: {said}">'
            f"<style>{style('beside')}</style>{table(heads, ''.join(map(_row, rows)))}<p>{said}</p></div>")


def _row(row: Row) -> str:
    only = (row.theirs is None or row.ours is None) and not row.differs
    classes = "only" if only else "differs" if row.differs else ""
    mark = f' class="{classes}"' if classes else ""
    return f"<tr{mark}><td>{_cell(row.theirs)}</td><td>{_cell(row.ours)}</td></tr>"


def _cell(line: Line | None) -> str:
    if line is None:
        return ""
    url = line.file and kernel_url(line.function, line.file)
    name = f"<code>{escape(line.function)}</code>"
    return (f'<span style="padding-left:{line.depth * .75:g}em">'
            + (f'<a href="{url}" title="{escape(line.function)}">{name}</a>' if url else name) + "</span>")
