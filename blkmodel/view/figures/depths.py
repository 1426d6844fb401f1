"""iodepth, nr_requests, scheduler's tags, queue depth and requests in flight of one disk, side by side.

    live(depth_figure, jobs=(1, 4), iodepth=(1, 32), queues=(1, 4), depth=(1, 64), scheduler=["none", "mq-deadline"],
         nr_requests=Slider(1, 64, none="as it was"))
"""

from blkmodel.view.draw.figure import panel
from blkmodel.view.facts.depths import depths
from blkmodel.view.facts.words import many


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
