"""`iostat -dx`, once, since boot: sysstat 12.6.1's report on what /proc/diskstats counts.

Of CPUs there is nothing to report: they take no time. The machine's clock began with 1970; Linux 5.4 counts no flushes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from blkmodel.block.genhd import part_in_flight
from blkmodel.include.linux.genhd import part_stat_counted
from blkmodel.reference.source import REFERENCE
from blkmodel.services import whole_disks
from blkmodel.sim import this
from blkmodel.userland.fio.stages import iostat as columns

_WIDTHS = (8, 10, 9, 7, 8, 9) * 3 + (8, 8, 8, 7)
_NAMES = [form.format(kind) for kind in "rwd" for form in (
    "{}/s", "{}kB/s", "{}rqm/s", "%{}rqm", "{}_await", "{}areq-sz")] + ["f/s", "f_await", "aqu-sz", "%util"]


def run(words: Sequence[str]) -> str:
    """Do `iostat WORDS…`: what it prints of the disks that are named, or of all that were used. ValueError or KeyError
    says what is wrong with the words."""
    there, kernel = whole_disks(), this()
    letters = {letter for word in words if word.startswith("-") for letter in word[1:] or "-"}
    if "x" not in letters or letters - {"x", "d"}:
        raise ValueError(f"expected -x or -dx, and names of disks; found {' '.join(words) or 'none'}")
    disks = [word.removeprefix("/dev/") for word in words if not word.startswith("-")]
    for name in disks:
        if name not in there:
            raise KeyError(f"there is no disk {name!r}; there is {', '.join(sorted(there)) or 'none'}")
    counted = {name: part_stat_counted(disk.part0, part_in_flight(disk.queue, disk.part0))
               for name, disk in there.items() if not disks or name in disks}
    date = datetime.fromtimestamp(kernel.now // 1_000_000_000, UTC)
    return (f"Linux {REFERENCE[1:]} (blkmodel) \t{date:%m/%d/%y} \t_x86_64_\t({len(kernel.online)} CPU)\n\n"
            + report(counted, kernel.now // 10_000_000))


def report(counted: Mapping[str, Sequence[int]], uptime: int) -> str:
    """The table: of each disk the numbers in /sys/block/DISK/stat; uptime: hundredths of a second."""
    lines = [_row("Device", _NAMES)]
    for name, each in sorted(counted.items()):
        if each[0] or each[4] or each[11]:
            nanoseconds = max(uptime, 1) * 10_000_000
            both, discards = (list(columns(numbers, nanoseconds).values()) for numbers in
                              (list(each), [*each[11:15], *each[4:11]]))
            lines.append(_row(name, [f"{value:.2f}" for value in (*both[:12], *discards[:6], 0, 0, *both[12:])]))
    return "\n".join([*lines, "", "", ""])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:13}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
