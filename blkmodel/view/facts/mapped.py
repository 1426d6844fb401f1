"""What figures of mapped devices share: a small machine with two disks, and a device on it for a while."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from blkmodel import scenario
from blkmodel.drivers.md import dm_table
from blkmodel.errors import KernelError
from blkmodel.include.linux.device_mapper import dm_dev, dm_target
from blkmodel.sim import Kernel, booted
from blkmodel.userland import dmsetup

SECTORS = 131072


@contextmanager
def another_machine(cpus: int) -> Iterator[Kernel]:
    """A kernel with nullb0 (blocks of 512 bytes) and nullb1 (blocks of 4096), of 64 MiB each, for a `with` block."""
    with booted(cpus) as kernel:
        scenario.null_blk_load(nr_devices=0)
        scenario.null_blk_create("a", size=SECTORS >> 11, memory_backed=1)
        scenario.null_blk_create("b", size=SECTORS >> 11, memory_backed=1, blocksize=4096)
        scenario.dm_load()
        yield kernel


@lru_cache(maxsize=1)
def _machine() -> Kernel:
    with another_machine(2) as kernel:
        return kernel


@contextmanager
def mapped(table: str) -> Iterator[tuple[str | None, list[str]]]:
    """A device `try` with this table for the length of a `with` block: (the name of its disk, nothing), or (None, why
    there is none: dmsetup's lines and the kernel's). ValueError where the table has no line."""
    with _machine() as kernel:
        before, disk, why = len(kernel.log), None, []
        try:
            disk = dmsetup.create("try", table)
        except (KernelError, ValueError) as error:
            why = [error.name, *error.log] if isinstance(error, KernelError) else [str(error)]
        try:
            if disk is not None and scenario.disk(disk).private_data.map is None:
                raise ValueError(f"{table!r}: a table has at least one line, such as 0 2048 linear /dev/nullb0 0")
            yield disk, why
        finally:
            if disk is not None:
                dmsetup.remove("try")
            del kernel.log[before:]


def lines_of(text: str) -> str:
    """A table as dmsetup takes it; a reader separates its lines by `;`."""
    return "\n".join(line.strip() for line in re.split("[;\n]", text) if line.strip())


def targets_of(table: dm_table.dm_table) -> list[dm_target]:
    """The targets of a table, in order."""
    return [dm_table.dm_table_get_target(table, i) for i in range(dm_table.dm_table_get_num_targets(table))]


def areas(target: dm_target) -> list[tuple[str, int, int]]:
    """Where a target's sectors may land, as it says itself: [(name of the disk, first sector, sectors)]."""
    found = []

    def take(ti: dm_target, dev: dm_dev, start: int, length: int, data: Any) -> int:
        found.append((dev.bdev.bd_disk.disk_name, start, length))
        return 0
    if target.type.iterate_devices is not None:
        target.type.iterate_devices(target, take, None)
    return found
