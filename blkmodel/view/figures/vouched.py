"""What vouches for the functions of the model, module by module: recordings of calls, of state, or only the source.

    HTML(fidelity())
"""

from html import escape

from blkmodel.capture.vouched import KINDS, SOURCE, by_file, vouched
from blkmodel.view.draw import panel, row, table


def fidelity() -> str:
    """A table: a row for each kernel file, how many functions each kind vouches for, and which only the source does."""
    of, rows = vouched(), []
    for file, number in by_file(of).items():
        calls, state, source = (number[kind] for kind in KINDS)
        only = ", ".join(escape(name) for (at, name), kind in sorted(of.items()) if at == file and kind == SOURCE)
        more = f"<details><summary>{source}</summary>{only}</details>" if only else "0"
        rows.append(row(escape(file), calls, state, more))
    rows.append(row("all", *(sum(kind == each for kind in of.values()) for each in KINDS)))
    titles = ("file", "a recording of calls", "of state", "the source")
    return panel("blk-vouched", "What vouches for the functions of each file", "vouched", table(titles, "".join(rows)))
