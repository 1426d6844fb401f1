"""What vouches for the functions of the model, module by module: recordings of calls, of state, or only the source.

    HTML(fidelity())
"""

from html import escape

from blkmodel.capture.vouched import KINDS, by_file, vouched
from blkmodel.view.draw.figure import panel


def fidelity():
    """A table: a row for each kernel file, how many functions each kind vouches for, and which only the source does."""
    of = vouched()
    rows = []
    for file, number in by_file(of).items():
        only = ", ".join(escape(name) for (place, name), kind in sorted(of.items())
                         if (place, kind) == (file, KINDS[2]))
        more = f"<details><summary>{number[KINDS[2]]}</summary>{only}</details>" if only else "0"
        rows.append(f'<tr><th scope="row">{escape(file)}</th><td>{number[KINDS[0]]}</td><td>{number[KINDS[1]]}</td>'
                    f"<td>{more}</td></tr>")
    total = [sum(kind == each for kind in of.values()) for each in KINDS]
    rows.append('<tr><th scope="row">all</th>' + "".join(f"<td>{each}</td>" for each in total) + "</tr>")
    head = "".join(f'<th scope="col">{each}</th>'
                   for each in ("file", "a recording of calls", "of state", "the source"))
    return panel("blk-vouched", "What vouches for the functions of each file", "vouched",
                 f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
