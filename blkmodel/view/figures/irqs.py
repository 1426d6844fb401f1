"""What /proc/interrupts and /proc/irq say of a disk's interrupts, and what moves them.

    live(irqs, cpus=(1, 16), queues=(1, 16), isolcpus="6-7", newer=Check(), offline=Slider(0, 15, none="no CPU"),
         written=Slider(0, "queues", none="none"))
"""

from html import escape

from blkmodel.sim import format_cpulist
from blkmodel.view.draw import panel
from blkmodel.view.facts.irqs import interrupts_seen
from blkmodel.view.facts.words import many


def last_cpu(cpus: int = 8) -> int:
    return cpus - 1


def irqs(cpus: int = 8, queues: int = 3, isolcpus: str = "", newer: bool = False, offline: int | None = None,
         written: int | None = None) -> str:
    """Draw the interrupts of an NVMe disk with so many queues, after each CPU that runs and is not isolated read once.

    isolcpus: as on the kernel's command line. newer: know `managed_irq`, as 5.6 does. offline: a CPU that went away.
    written: the queue pair to whose interrupt "0" was written, as smp_affinity_list.
    """
    seen = interrupts_seen(cpus, queues, isolcpus, newer, offline, written if written in range(queues + 1) else None)
    isolated = sum(count for line in seen.lines if line.managed
                   for cpu, count in enumerate(line.counts) if cpu not in seen.kept)
    said = (f"{many(sum(line.managed for line in seen.lines), 'interrupt')} of {len(seen.lines)} cannot be moved. "
            + f"{many(isolated, 'interrupt')} of queues came to isolated CPUs. " * (len(seen.kept) < cpus))
    marks = [f'{"kept" if cpu in seen.kept else "spared"}{" away" * (cpu not in seen.online)}' for cpu in range(cpus)]
    heads = "".join(f'<th scope="col" class="{mark}">{cpu}</th>' for cpu, mark in enumerate(marks)) + "<th></th>"
    heads += "".join(f'<th scope="col" class="of">{head}</th>' for head in ("may go to", "now"))
    rows, label = "", said + " ".join(seen.said)
    for line in seen.lines:
        now = "shut down" if line.now is None else str(line.now)
        label += f" {line.irq}, {line.name}: may go to CPU {line.may}, now: {now}."
        counts = "".join(f'<td class="{mark}">{count or "·"}</td>'
                         for count, mark in zip(line.counts, marks, strict=True))
        rest = "".join(f'<td class="of">{each}</td>' for each in (line.name, line.may, now))
        rows += f'<tr><th scope="row">{line.irq}</th>{counts}{rest}</tr>'
    return panel("blk-irqs", label, "irqs", f"<p><b>{said}</b></p>",
                 "".join(f"<p><code>{escape(each)}</code></p>" for each in seen.said),
                 f'<table><thead><tr><th scope="col">CPU</th>{heads}</tr></thead><tbody>{rows}</tbody></table>',
                 '<p class="dim">Struck out: not running. Shaded: isolated, '
                 f"{format_cpulist(set(range(cpus)) - seen.kept) or 'none'}.</p>")
