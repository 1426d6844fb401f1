"""Why there are many queues: what the CPUs of a machine write to, all of them, when each reads once.

    live(sharing, cpus=(1, 16), queues=(1, 16), scheduler=["none", "mq-deadline"])
"""

from blkmodel.sim import format_cpulist
from blkmodel.view.draw import panel, table
from blkmodel.view.facts.words import many
from blkmodel.view.facts.writers import PLACES, writers


def sharing(cpus: int = 8, queues: int = 1, scheduler: str = "none") -> str:
    """Draw which CPUs write to which tags and rings of an NVMe disk with so many queues, when each CPU reads 4 KiB."""
    found = writers(cpus, queues, scheduler)
    shared = sum(len(who) > 1 for who in found.values())
    said = f"{shared or 'None'} of {many(len(found), 'place')} {'are' if shared > 1 else 'is'} written by several CPUs."
    label = [f"{what}{f' of hardware queue {number}' * (number >= 0)}: {_cpus(found[what, number])}."
             for what, number in found]
    rows = [f'<tr><th scope="row">the disk</th><td colspan="3" class="many">{what}: {_cpus(who)}</td></tr>'
            for (what, number), who in found.items() if number < 0]
    for number in sorted({number for _, number in found if number >= 0}):
        cells = (found.get((what, number), set()) for what in PLACES)
        drawn = "".join(f'<td class="{"many" if len(who) > 1 else "one"}">{_cpus(who)}</td>' for who in cells)
        rows.append(f'<tr><th scope="row">hardware queue {number}</th>{drawn}</tr>')
    return panel("blk-sharing", " ".join([said, *label]), "sharing", f"<p><b>{said}</b></p>",
                 table(("kept for", *PLACES), "".join(rows)))


def _cpus(who: set[int]) -> str:
    return f"CPU{'s' * (len(who) > 1)} {format_cpulist(who)}"
