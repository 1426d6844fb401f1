"""The kernel that was recorded, booted in the model."""

from contextlib import suppress
from typing import Any

from blkmodel.block import blk_mq
from blkmodel.capture import trees
from blkmodel.drivers.block.null_blk_main import null_cache_active
from blkmodel.errors import KernelError
from blkmodel.include.linux.blkdev import QUEUE_FLAG_STATS
from blkmodel.reference.source import was_built
from blkmodel.scenario import DM_TARGETS, io, modules, queue_file, run_step, set_queue_file
from blkmodel.services import sysfs, whole_disks
from blkmodel.sim import PAGE_SIZE, Kernel, Machine, boot, machine

VECTORS = 65
"""The interrupt vectors of the NVMe controller of the machine that was recorded: QEMU's."""
LATENCY = 100_000
"""Nanoseconds that it takes for a command where nothing is said: QEMU's needs some time for each, too."""


def boot_reference(on: Machine | int, later: bool = False, anywhere: int | None = None) -> Kernel:
    """Boot a kernel that has only those modules that the reference kernel was built with; `later`: the second one,
    which has all that the model has, of whose recordings each tells what was observed, and whose CPUs share a cache: no
    request is completed elsewhere. anywhere: the CPU for those that are bound to none. Returns it."""
    kernel = boot(machine(on) if later and isinstance(on, int) else on)
    kernel.anywhere = anywhere
    if later:
        sysfs().config.add("FAIL_IO_TIMEOUT")
        modules().latency = LATENCY
    else:
        modules().missing.update(file for file in DM_TARGETS if not was_built(file))
    return kernel


def as_recorded(step: list[Any], later: bool = False) -> list[Any]:
    """A step, on the machine that was recorded: where nothing else is said, a controller has its number of vectors, and
    leaves a command alone that it is told to abort; one that is pulled out is gone once what was under way is over.

    When the first recordings were taken, the disk nvme0n1 had been opened and read since its probe, and no other; when
    the `later` ones were, none.
    """
    if step[0] == "nvme.pull_out":
        return [step[0], {"drained": True, **step[1]}]
    if step[0] != "nvme.probe":
        return step
    return [step[0], {"vectors": VECTORS, "aborts": 0, "opened": step[1].get("device") == "nvme0" and not later,
                      **step[1]}]


def try_step(step: list[Any], later: bool) -> None:
    """Do a step, as one of the `later` recordings or not. One that the kernel refuses is done, too: what it did until
    then is what is compared."""
    with suppress(KernelError):
        run_step(as_recorded(step, later))


def traced_step(document: dict[str, Any]) -> list[Any]:
    """The step of a recording of calls. Where pages of the cache lay is chance, and tells: in which runs a read added
    them to bios, or how many segments a write had. So the model's are laid out in the same way."""
    kind, *rest = document["scenario"]["traced"]
    if kind != "buffered":
        return [kind, *rest]
    step = rest[0]
    calls = tuple(tree for context in document["contexts"] if context["context"] == "task"
                  for tree in trees.expand(context["calls"]))
    runs: list[int] = []
    if step["op"] == "read":
        for below in trees.below(calls, "bio_add_page"):
            if any(function == "__bio_add_page" for function, _ in below) or not runs:
                runs.append(0)
            runs[-1] += 1
    else:
        segments = trees.calls_to(calls, {"dma_direct_map_page"})
        pages = (step["offset"] + step["length"] - 1) // PAGE_SIZE - step["offset"] // PAGE_SIZE + 1
        runs = [pages - segments + 1, *[1] * (segments - 1)] if 0 < segments <= pages else [1] * pages
    return [kind, {**step, "page_runs": runs}]


def leave_as_found(document: dict[str, Any]) -> dict[str, int]:
    """Bring about what a recording of calls shows to have been so before its step, and its `setup` does not say:
    several were taken in one boot, and what those before it did is left out. Returns what that is, with how much.

    A disk's requests are timed (somebody has polled for one, after a sleep of half the usual time), how long that sleep
    is was changed, or a write cache has pages, which fsync() then writes back.
    """
    kind, step = document["scenario"]["traced"][:2]
    disk = whole_disks().get(step.get("disk", "")) if isinstance(step, dict) else None
    if disk is None:
        return {}
    calls = [trees.expand(context["calls"]) for context in document["contexts"]]
    found = {}
    q, timed = disk.queue, sum(trees.calls_to(forest, {"blk_stat_add"}) for forest in calls)
    if timed and q.mq_ops and q.mq_ops.poll and not q.queue_flags >> QUEUE_FLAG_STATS & 1:
        blk_mq.blk_poll_stats_enable(q)
        found[f"requests of {disk.disk_name} that were timed, which its setup does not say"] = timed
    delay = document.get("observed", {}).get("files", {}).get(f"/sys/block/{disk.disk_name}/queue/io_poll_delay")
    said = any(step[1].get("file") == "io_poll_delay" for step in document["scenario"]["setup"]
               if isinstance(step[1], dict))
    if isinstance(delay, str) and not said and delay != queue_file(disk.disk_name, "io_poll_delay"):
        set_queue_file(disk.disk_name, "io_poll_delay", delay)
        found[f"io_poll_delay of {disk.disk_name}, which its setup does not say"] = 1
    if kind == "flush" and disk.disk_name.startswith("nullb") and null_cache_active(nullb := disk.private_data):
        flushed = sum(trees.calls_to(forest, {"null_flush_cache_page"}) for forest in calls)
        if (pages := flushed - nullb.dev.curr_cache // PAGE_SIZE) > 0:
            io(disk.disk_name, "write", 0, flushed * PAGE_SIZE)
            found[f"pages in the cache of {disk.disk_name}, which its setup does not say"] = pages
    return found
