"""What figures of mapped devices share: a small machine with two disks, a device on it, and strips of sectors."""

import re
from contextlib import contextmanager
from functools import lru_cache
from html import escape

from blkmodel import scenario
from blkmodel.drivers.md import dm_table
from blkmodel.errors import KernelError
from blkmodel.sim import booted
from blkmodel.userland import dmsetup

SECTORS = 131072
COLOURS = ("default", "read", "poll", "tags", "memory", "waste")
STYLE = (
    ".blk-md{font-size:13px;line-height:1.45}.blk-md p{margin:0 0 .5rem;max-width:44rem}"
    ".blk-md .says{font-size:15px}.blk-md .dim{color:var(--blk-dim)}.blk-md .bad{color:var(--blk-changed)}"
    ".blk-md h4{font-size:13px;font-weight:600;line-height:1.5;margin:12px 0 4px}"
    ".blk-md :is(code,.log){font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:inherit;"
    "background:none;border:0;padding:0;overflow-wrap:anywhere}"
    ".blk-md .log{margin:0 0 .5rem;padding:0;list-style:none}.blk-md .log li{margin:0}"
    ".blk .blk-md-strip{width:100%;height:22px;max-width:none}.blk-md-strip *{vector-effect:non-scaling-stroke}"
    ".blk-md ol,.blk-md ul.rows{list-style:none;margin:.3rem 0 .2rem;padding:0}"
    ".blk-md :is(ol,.rows) li{margin:0;display:flex;gap:.5em;align-items:baseline}"
    ".blk .blk-md-key{flex:none;max-width:none;align-self:center}"
    ".blk-md table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:0}"
    ".blk-md :is(td,th){padding:.1rem 1em .1rem 0;text-align:right;border:0;font-weight:400;white-space:nowrap}"
    ".blk-md tr>:first-child{text-align:left}.blk-md thead th{color:var(--blk-dim);"
    "border-bottom:1px solid var(--blk-line)}.blk-md .won{font-weight:600}.blk-md .scroll{overflow-x:auto}"
)


@contextmanager
def another_machine(cpus):
    """A kernel with nullb0 (blocks of 512 bytes) and nullb1 (blocks of 4096), of 64 MiB each, for a `with` block."""
    with booted(cpus) as kernel:
        scenario.null_blk_load(nr_devices=0)
        scenario.null_blk_create("a", size=SECTORS >> 11, memory_backed=1)
        scenario.null_blk_create("b", size=SECTORS >> 11, memory_backed=1, blocksize=4096)
        scenario.dm_load()
        yield kernel


@lru_cache(maxsize=1)
def _machine():
    with another_machine(2) as kernel:
        return kernel


@contextmanager
def mapped(table):
    """A device `try` with this table for the length of a `with` block: (the name of its disk, nothing), or (None, why
    there is none: dmsetup's lines and the kernel's)."""
    with _machine() as kernel:
        before = len(kernel.log)
        disk, why = None, []
        try:
            disk = dmsetup.create("try", table)
        except KernelError as error:
            why = [error.name, *error.log]
        except ValueError as error:
            why = [str(error)]
        try:
            yield disk, why
        finally:
            if disk is not None:
                dmsetup.remove("try")
            del kernel.log[before:]


def lines_of(text):
    """A table as dmsetup takes it; a reader separates its lines by `;`."""
    return "\n".join(line.strip() for line in re.split("[;\n]", text) if line.strip())


def targets_of(table):
    """The targets of a table, in order."""
    return [dm_table.dm_table_get_target(table, i) for i in range(dm_table.dm_table_get_num_targets(table))]


def areas(target):
    """Where a target's sectors may land, as it says itself: [(name of the disk, first sector, sectors)]."""
    found = []

    def take(ti, dev, start, length, data):
        found.append((dev.bdev.bd_disk.disk_name, start, length))
        return 0
    if target.type.iterate_devices is not None:
        target.type.iterate_devices(target, take, None)
    return found


def strip(parts, length, least=4):
    """A strip of `length` sectors with parts (first, sectors, colour, key) on it; a part is at least so wide."""
    shapes = "".join(
        f'<rect class="box {colour}" x="{1000 * first / length:.2f}" y="1" '
        f'width="{max(least, 1000 * sectors / length):.2f}" height="20" data-key="{key}"/>'
        for first, sectors, colour, key in parts)
    return ('<svg xmlns="http://www.w3.org/2000/svg" class="blk-md-strip" aria-hidden="true" '
            'preserveAspectRatio="none" viewBox="0 0 1000 22"><rect class="box" x="0" y="1" width="1000" height="20"/>'
            f"{shapes}</svg>")


def key(colour):
    """A little box of a colour, for a legend."""
    return ('<svg xmlns="http://www.w3.org/2000/svg" class="blk-md-key" width="13" height="13" aria-hidden="true">'
            f'<rect class="box {colour}" x=".5" y=".5" width="12" height="12"/></svg>')


def log(lines):
    return f'<ul class="log">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'
