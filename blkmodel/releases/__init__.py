"""Which CPU uses which queue, in kernels after 5.4: what was changed, when, and the model run with it.

The mirror stands for 5.4. Where a later release works out queues otherwise, its function stands in this room, and
`running("6.12")` puts it in the place of the mirror's for a while, as a live patch would. CHANGES says for each the
release, the stable updates that have it too, and the commit. The release was found in the sources of those before and
after it: 5.4.120, 5.4.214, 5.7.14, 5.8.1, 5.9.2, 5.10, 5.11.14, 5.14, 5.15.16, 5.15.135, 5.17, 5.19, 6.1.192, 6.2.1,
6.3.8, 6.4.6, 6.5, 6.8.1, 6.9, 6.10, 6.11.11, 6.12.117, 6.13.2, 6.14, 6.17, 6.18.2, 6.19 and 7.1.5. What else decides
which CPU uses which queue is there as in 5.4; only CPUs that were isolated at boot are since 6.10 not among a queue's.
An update of a stable release is taken to be as its release, unless CHANGES says otherwise.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from blkmodel.block import blk_mq_cpumap
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.nvme.host import pci
from blkmodel.errors import NotModelled
from blkmodel.kernel.irq import affinity
from blkmodel.releases import drivers, spread

Version = tuple[int, int, int]


class Change(NamedTuple):
    """A function (or table of parameters) that a later release has otherwise.

    since: the release; stable: updates of older releases from which on, at the latest, they have it, too; commit: `-`
    where it is not known; what: in a few words.
    """

    since: str
    stable: tuple[str, ...]
    commit: str
    module: ModuleType
    name: str
    now: Any
    what: str


CHANGES = (
    Change("5.8", ("5.7.14",), "9c9e76d5792b", pci, "parameters", drivers.nvme_parameters_5_8,
           "nvme: write_queues and poll_queues are at most the possible CPUs"),
    Change("5.10", (), "21cc2f3f799f", pci, "nvme_setup_irqs", drivers.nvme_setup_irqs_5_10,
           "nvme: the one queue that polled ones leave has a vector of its own"),
    Change("5.16", (), "0a593fbbc245", null_blk_main, "module_params", drivers.null_blk_parameters_5_16,
           "null_blk: poll_queues, 1 if nobody says otherwise"),
    Change("5.16", (), "0a593fbbc245", null_blk_main, "null_init_tag_set", drivers.null_init_tag_set_5_16,
           "null_blk: polled queues, after the others"),
    Change("5.16", (), "0a593fbbc245", null_blk_main, "setup_queues", drivers.setup_queues_5_16,
           "null_blk: room for polled queues"),
    Change("5.18", ("5.4.190", "5.10.112", "5.15.35", "5.17.4"), "08d835dff916", affinity, "__irq_build_affinity_masks",
           spread.irq_build_5_18, "vectors: with no more of them than nodes, an absent CPU has only one"),
    Change("6.3", (), "6a6dcae8f486", blk_mq_cpumap, "blk_mq_map_queues", spread.blk_mq_map_queues_6_3,
           "queues without vectors: CPUs are grouped by node and core, as for vectors"),
    Change("6.9", (), "0e02ca29a563", affinity, "sort", spread.sort_6_9,
           "nodes with as many CPUs: their order (heap sort takes two at a time)"),
    Change("6.9", (), "8b631f9cf0b8", null_blk_main, "null_validate_conf", drivers.null_validate_conf_6_9,
           "null_blk: queue_mode 0 is 2"),
    Change("6.11", (), "-", affinity, "sort", spread.sort_6_11,
           "nodes with as many CPUs: their order (the last two or three without a heap)"),
    Change("6.17", (), "b6139a6abf67", blk_mq_cpumap, "blk_mq_map_queues", spread.blk_mq_map_queues_6_17,
           "queues without vectors, more of them than CPUs: the last ones are used, not the first"),
)
FIRST, LAST = "5.4", "6.19"
AFTER = "after that CPUs are grouped by clusters, too, commit 89802ca36c96"


def version(release: str) -> Version:
    """The numbers of a release, such as `6.12.117` or `6.1.0-37-amd64`. Raises NotModelled where that is none whose
    queues are known."""
    def unknown(why: str) -> NotModelled:
        shown = ascii(release)[1:-1]
        return NotModelled(f"kernel {shown if len(shown) <= 64 else f'{shown[:61]}...'} ({why})")
    if not (found := re.match(r"([1-9])\.(0|[1-9]|1[0-9])(?:\.(0|[1-9][0-9]{0,3}))?(?=$|[-+_~a-z])", release)):
        raise unknown("expected a release such as 6.12.117")
    numbers, rest = (int(found[1]), int(found[2]), int(found[3] or 0)), release[found.end():]
    if numbers < _numbers(FIRST) or numbers[:2] > _numbers(LAST)[:2]:
        raise unknown(f"which CPU uses which queue is known from {FIRST} to {LAST}; {AFTER}")
    if re.match(r"-rc[0-9]", rest) or re.search(r"\.el[0-9]", rest):
        raise unknown("its number does not tell what was put into it")
    if re.match(r"-[0-9]", rest) and not numbers[2] and any(
            _numbers(update)[:2] == numbers[:2] for change in CHANGES for update in change.stable):
        raise unknown("it does not say on which update of that release it is based, which matters here; "
                      "blkmodel capture --release can say it")
    return numbers


def _numbers(release: str) -> Version:
    first, second, third = (*map(int, release.split(".")), 0, 0)[:3]
    return first, second, third


def changes(release: str) -> tuple[Change, ...]:
    """The changes that a release has, oldest first. Raises NotModelled as version() does."""
    ours = version(release)
    return tuple(change for change in CHANGES if _numbers(change.since) <= ours or any(
        (update := _numbers(each))[:2] == ours[:2] and update <= ours for each in change.stable))


@contextmanager
def running(release: str) -> Iterator[None]:
    """Let what is booted and set up meanwhile work out its queues as a release does: the rest stays 5.4's.

    Raises NotModelled where that release is not known."""
    with ExitStack() as undone:
        for change in changes(release):
            undone.callback(setattr, change.module, change.name, getattr(change.module, change.name))
            setattr(change.module, change.name, change.now)
        yield
