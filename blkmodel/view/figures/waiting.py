"""What waits before a disk gets it: iodepth, nr_requests, tags, what is in flight; and three schedulers side by side.

    live(depth_figure, jobs=(1, 4), iodepth=(1, 32), queues=(1, 4), depth=(1, 64), scheduler=["none", "mq-deadline"],
         nr_requests=Slider(1, 64, none="as it was"))
    live(schedulers, depth=(1, 64), writes=(0, 24))
"""

from blkmodel.view.draw import keys, panel, row, stretched, table
from blkmodel.view.facts.waiting import READS, contests, depths
from blkmodel.view.facts.words import many

_HEADS = "", "as the disk gets them", "last read, µs", "last write, µs", "calls for each", "head, pages"



def depth_figure(jobs: int = 2, iodepth: int = 32, queues: int = 1, depth: int = 16, scheduler: str = "mq-deadline",
                 nr_requests: int | None = None) -> str:
    """Draw how far the reads of so many processes get that each submit `iodepth` of them at once.

    queues, depth: hardware queues of the disk, and the driver's tags of each. nr_requests: what is written to the file.
    """
    now = depths(jobs, iodepth, min(queues, jobs), depth, scheduler, nr_requests)
    begun, room = now.sched or now.tags
    rows = [("wanted", now.wanted, now.wanted, "default", f"processes × iodepth: {jobs} × {iodepth}"),
            (f"have a {'scheduler' if now.sched else 'driver'}'s tag, and so a request", begun, room, "tags",
             f"nr_requests of each queue: {now.nr_requests}"),
            ("have a driver's tag", *now.tags, "poll", f"queue depth: {depth} for each queue"),
            ("in flight", now.inflight, now.tags[1], "read", "/sys/block/nullb0/inflight")]
    if not now.sched:
        del rows[2]
    said = (f"Of {many(now.wanted, 'read')}, {begun} have a request, and {now.inflight} are in flight. Not begun: "
            f"{now.wanted - begun}. Processes asleep for a tag: {now.asleep} of {jobs}."
            + f" echo {nr_requests} > nr_requests: {now.refused}." * bool(now.refused))
    most = max(there for _, _, there, _, _ in rows)
    drawn = "".join(
        f'<tr><th scope="row">{what}</th><td><span class="room" style="width:{100 * there / most:.1f}%">'
        f'<i class="{colour}" style="width:{100 * used / there:.1f}%"></i></span></td><td>{used} of {there}</td>'
        f'<td class="dim">{whose}</td></tr>' for what, used, there, colour, whose in rows)
    return panel("blk-depths", said, "depths", f"<p><b>{said}</b></p><table>{drawn}</table>")


def schedulers(depth: int = 4, writes: int = 24) -> str:
    """Draw the order of `writes` writes and 4 reads behind them, submitted at once, by each of three schedulers.

    depth: commands that the disk takes at once; each takes 100 µs.
    """
    rows, label = "", []
    for name, found in contests(depth, writes).items():
        shapes = "".join(f'<rect class="box {"read" if each.read else "poll"}" x="{10 * at + .5}" y="1" width="9" '
                         'height="18"/>' for at, each in enumerate(found.served))
        numbers = [f"{found.longest(True):g}", f"{found.longest(False):g}", f"{found.calls:.0f}", str(found.travel)]
        label.append(f"{name}: {''.join('wr'[each.read] for each in found.served)}; "
                     + ", ".join(f"{head}: {number}" for head, number in zip(_HEADS[2:], numbers, strict=True)) + ".")
        strip = stretched("", 10 * len(found.served), 20, shapes, ' width="100%" height="20" aria-hidden="true"')
        rows += row(name, strip, *numbers)
    key = keys("", [('<rect class="box poll" x="1" y="1" width="9" height="13"/>', "a write"),
                    ('<rect class="box read" x="1" y="1" width="9" height="13"/>', f"a read, of {READS}")])
    return panel("blk-depths", " ".join(label), "depths", table(_HEADS, rows, "dim"), f"<p>{key}</p>")
