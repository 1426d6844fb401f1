"""Load on a disk: how depth, IOPS and latency hang together, with where the time goes; and what iostat says of it.

    live(depth_and_latency, tags=(1, 64), queues=(1, 4), least=(10, 500, 10), servers=(0, 32),
         scheduler=["none", "mq-deadline", "kyber"])
    live(busy, least=(10, 10000, 10), servers={"one": 1, "any number": 0})
"""

from blkmodel.userland.fio.stages import STAGES
from blkmodel.view.draw import keys, panel, row, table
from blkmodel.view.facts.load import arrivals, curve

_COLOURS = ("tags", "poll", "default", "read", "waste")
_DEPTHS, _RATES, _READS = (1, 2, 4, 8, 16), (50, 100, 250, 1000, 4000), 30


def depth_and_latency(tags: int = 4, queues: int = 1, least: int = 100, servers: int = 0,
                      scheduler: str = "none") -> str:
    """Draw what 1 to 16 processes measure on a disk, each of which has one read at a time.

    tags: of each of its queues. least: microseconds that it takes for a read; servers: so many at once (0: all).
    """
    rows, said = "", []
    found = curve(_DEPTHS, tags, queues, least, servers, scheduler)
    longest = max(each.latency for each in found)
    for n, each in zip(_DEPTHS, found, strict=True):
        bar = "".join(f'<i class="{colour}" style="float:left;width:{100 * time / longest:.2f}%"></i>'
                      for colour, time in zip(_COLOURS, each.stages, strict=True))
        rows += row(str(n), _room(bar), f"{each.iops:,.0f}", f"{each.latency:.0f}",
                    f"{each.iops * each.latency / 1e6:.2f}")
        where = ", ".join(f"{time:.0f} µs {stage}" for stage, time in zip(STAGES, each.stages, strict=True)
                          if time >= .5)
        said.append(f"{n} at once: {each.iops:,.0f} IOPS, {each.latency:.0f} µs ({where}).")
    key = keys("", [(f'<rect class="{colour}" x="1" y="1" width="13" height="13"/>', stage)
                    for colour, stage in zip(_COLOURS, STAGES, strict=True)])
    return panel("blk-depths", " ".join(said), "depths",
                 table(("processes", "where the time goes", "IOPS", "latency, µs", "IOPS × latency"), rows, "dim"),
                 f"<p>{key}</p>")


def busy(least: int = 100, servers: int = 1) -> str:
    """Draw what `iostat -x` of 5.4 says of a disk to which so many reads a second come, by chance.

    least: microseconds that it takes for a read. servers: how many it serves at once (0: all).
    """
    rows, said = "", []
    rates = [rate for rate in _RATES if not servers or rate * least < 950_000 * servers]
    for found in arrivals(rates, _READS, tags=_READS, least=least, servers=servers):
        truth, util = min(found.iops * least / 1e4, 100), found.columns["%util"]
        bar = (f'<i class="read" style="width:{truth:.1f}%;height:50%"></i>'
               f'<i class="poll" style="width:{util:.1f}%;height:50%"></i>')
        numbers = [f"{truth:.1f}", f"{util:.0f}", f"{found.iops * found.latency / 1e6:.2f}",
                   f"{found.columns['aqu-sz']:.2f}"]
        rows += row(f"{found.iops:,.0f}", _room(bar), *numbers)
        said.append(f"{found.iops:,.0f} reads a second: {numbers[0]} % of one server's time, %util {numbers[1]}; "
                    f"{numbers[2]} reads there on average, aqu-sz {numbers[3]}.")
    key = keys("", [('<rect class="read" x="1" y="1" width="13" height="13"/>', "reads × their time"),
                    ('<rect class="poll" x="1" y="1" width="13" height="13"/>', "%util")])
    heads = ("reads/s", "", "reads × time, %", "%util", "really there", "aqu-sz")
    return panel("blk-depths", " ".join(said) or "No rate is slow enough for this disk.", "depths",
                 table(heads, rows, "dim"), f"<p>{key}</p>")


def _room(bar: str) -> str:
    return f'<span class="room">{bar}</span>'
