"""What becomes of a read to which something happens: who did what, and when, until all is at rest.

    live(read_with, what=Choice(INCIDENTS), timeout=(1000, 5000, 500), before=(0, 3), takes=(500, 5000, 500))
"""

from html import escape

from blkmodel.view.draw import panel
from blkmodel.view.facts.incidents import DEVICE, INCIDENTS as INCIDENTS, LOG, Incident, Moment, incident


def read_with(what: str = "lost", timeout: int = 1000, before: int = 0, takes: int = 3000,
              aborts: bool = False) -> str:
    """Draw what becomes of a read of 4 KiB from an NVMe disk.

    what: a value of INCIDENTS. timeout: the disk's io_timeout, in milliseconds; before: how many reads were on its
    queue before. takes: how long the controller needs for each command, in milliseconds; aborts: whether it ends what
    it is told to abort.
    """
    found = incident(what, timeout, before, takes, aborts)
    return panel("blk-break", _describe(found), "unwinding break_controller",
                 f'<p class="says">{_says(found)}</p><ol class="blk-doings">{_rows(found.moments)}</ol>')


def _says(found: Incident) -> str:
    tone = "" if found.result.endswith("bytes") else ' class="bad"'
    states = " → ".join(escape(state) for state in found.states)
    return f"The process gets <b{tone}>{found.result}</b> after {found.took:.0f} ms. The controller is {states}."


def _rows(moments: list[Moment]) -> str:
    rows, ms = [], 0.0
    for each in moments:
        if each.ms - ms >= 1:
            rows.append(f'<li class="passes"><span>{each.ms - ms:.0f} ms pass</span><span></span></li>')
        ms = max(each.ms, ms)
        state = "new" if each.who == DEVICE else "failed" if each.who == LOG else ""
        code = f" <code>{each.code}</code>" if each.code else ""
        times = f" × {each.times}" if each.times > 1 else ""
        rows.append(f'<li class="{state}"><span><b>{escape(each.who)}</b> {escape(each.said)}{code}{times}</span>'
                    f'<span class="dim">{each.ms:.0f} ms</span></li>')
    return "".join(rows)


def _describe(found: Incident) -> str:
    """The figure in words."""
    said = "; ".join(f"after {each.ms:.0f} ms {each.who} {each.said}" for each in found.moments)
    return (f"The process gets {found.result} after {found.took:.0f} milliseconds. The controller is "
            f"{', then '.join(found.states)}. {said}.")
