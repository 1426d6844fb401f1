"""Three schedulers side by side: in which order they give a disk reads behind writes, and what that costs.

    live(schedulers, depth=(1, 64), writes=(0, 24))
"""

from blkmodel.view.draw.figure import keys, panel, stretched
from blkmodel.view.facts.contest import READS, contest

_HEADS = "", "as the disk gets them", "last read, µs", "last write, µs", "calls for each", "head, pages"


def schedulers(depth: int = 4, writes: int = 24) -> str:
    """Draw the order of `writes` writes and 4 reads behind them, submitted at once, by each of three schedulers.

    depth: commands that the disk takes at once; each takes 100 µs.
    """
    rows, label = "", []
    for name in ("none", "mq-deadline", "kyber"):
        found = contest(name, depth, writes)
        shapes = "".join(f'<rect class="box {"read" if each.read else "poll"}" x="{10 * at + .5}" y="1" width="9" '
                         'height="18"/>' for at, each in enumerate(found.served))
        numbers = [f"{found.longest(True):g}", f"{found.longest(False):g}", f"{found.calls:.0f}", str(found.travel)]
        label.append(f"{name}: {''.join('wr'[each.read] for each in found.served)}; "
                     + ", ".join(f"{head}: {number}" for head, number in zip(_HEADS[2:], numbers, strict=True)) + ".")
        cells = "".join(f"<td>{number}</td>" for number in numbers)
        strip = stretched("", 10 * len(found.served), 20, shapes, ' width="100%" height="20" aria-hidden="true"')
        rows += f'<tr><th scope="row">{name}</th><td>{strip}</td>{cells}</tr>'
    heads = "".join(f'<th scope="col" class="dim">{head}</th>' for head in _HEADS)
    key = keys("", [('<rect class="box poll" x="1" y="1" width="9" height="13"/>', "a write"),
                    ('<rect class="box read" x="1" y="1" width="9" height="13"/>', f"a read, of {READS}")])
    return panel("blk-depths", " ".join(label), "depths",
                 f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table><p>{key}</p>")
