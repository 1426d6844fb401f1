"""Failing on purpose: how often, and what was set up so (include/linux/fault-inject.h, lib/fault-inject.c)."""

import re
from dataclasses import dataclass, field

from blkmodel.services.base.printk import pr_warn
from blkmodel.sim import statics, this


@dataclass
class fault_attr:
    """In `probability` of 100 cases something fails, of which each `interval`-th counts; `times` times in all (-1: for
    ever), the first when `space` has passed. count: the cases so far."""

    probability: int = 0
    interval: int = 1
    times: int = 1
    space: int = 0
    count: int = 0


@dataclass
class nvme_fault_inject:
    """debugfs NAME/fault_inject: with which status commands of a disk fail, and whether they may be tried again."""

    attr: fault_attr = field(default_factory=fault_attr)
    status: int = 0x1
    dont_retry: bool = True


class debugfs(statics):
    """What the files below /sys/kernel/debug say: fail_io_timeout/, and NAME/fault_inject/ of disks."""

    def __init__(self) -> None:
        self.fail_io_timeout = fault_attr()
        self.fault_inject: dict[str, nvme_fault_inject] = {}


def setup_fault_attr(attr: fault_attr, text: str) -> int:
    """Read "interval,probability,space,times". Returns 1, or 0 where the text is none of that."""
    if not (found := re.match(r"\s*(\d+),(\d+),(-?\d+),(-?\d+)", text)):
        pr_warn("FAULT_INJECTION: failed to parse arguments")
        return 0
    attr.interval, attr.probability, attr.space, attr.times = map(int, found.groups())
    return 1


def should_fail(attr: fault_attr, size: int) -> bool:
    """Whether something of that size is to fail now. To be asked each time, as it counts."""
    if not attr.probability or not attr.times:
        return False
    if attr.space > size:
        attr.space -= size
        return False
    if attr.interval > 1:
        attr.count += 1
        if attr.count % attr.interval:
            return False
    if attr.probability < 100 and attr.probability <= this().random.randrange(100):
        return False
    attr.times -= attr.times > 0
    return True
