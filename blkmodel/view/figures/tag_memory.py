"""What a device costs before its first I/O: every request that there will ever be, packed into page runs.

    live(tag_memory, driver=["nvme", "null_blk"], depth=(1, 1023), queues=(1, 16))
"""


from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.sim import booted, machine
from blkmodel.sim.memory import Allocation
from blkmodel.view.draw import key, panel, stretched
from blkmodel.view.facts.tag_pages import contents, load_driver, summary
from blkmodel.view.figures.page_runs import page_runs

_KINDS = (("memory", "requests", ("pages(",)), ("waste", "left over in the requests' pages", ()),
          ("band", "rings of NVMe's queue pairs", ("nvme_command[]", "nvme_completion[]")),
          ("tags", "bitmaps, hints and wait queues of tags", ("sbitmap_word", "sbq_wait_state", "unsigned int[]")),
          ("ctx", "arrays of pointers", ("pointer[]",)), ("cpu", "queues and all else", ("",)))


def tag_memory(driver: str = "nvme", depth: int = 1023, queues: int = 4) -> str:
    """Draw the page runs of one hardware queue's requests, and what the whole device takes.

    depth: tags of each hardware queue. The machine has as many CPUs as there are queues.
    """
    with booted(machine(queues)) as kernel:
        before = set(kernel.memory.live)
        tag_set = load_driver(driver, depth, queues)
        new = [each for addr, each in kernel.memory.live.items() if addr not in before]
        runs = contents(tag_set.tags[0], kernel.memory, tag_set.cmd_size)
        return _totals(new, runs, tag_set) + page_runs(tag_set.tags[0], kernel.memory, tag_set.cmd_size)


def _totals(allocations: list[Allocation], runs: list[dict[str, int]], tag_set: blk_mq_tag_set) -> str:
    """Draw where the bytes of these allocations go, as one bar and a legend."""
    sums = dict.fromkeys(_KINDS, 0)
    for each in allocations:
        sums[next(kind for kind in _KINDS if each.kind.startswith(kind[2]))] += each.span
    used = tag_set.nr_hw_queues * tag_set.queue_depth * runs[0]["stride"]
    sums[_KINDS[1]] = sums[_KINDS[0]] - used
    sums[_KINDS[0]] = used
    total = sum(sums.values())
    parts = [(kind, label, size) for (kind, label, _), size in sums.items() if size]
    items = "".join(f"<li>{key(kind, 'blk-cost-key')}{_line(label, size, total)}</li>" for kind, label, size in parts)
    queues = f"{tag_set.nr_hw_queues} hardware queue{'s' if tag_set.nr_hw_queues > 1 else ''}"
    head = f"The whole device, {queues} of {tag_set.queue_depth} tags, takes {total >> 10} KiB before its first I/O."
    said = "; ".join(_line(label, size, total) for _, label, size in parts)
    return panel("blk-cost", f"{head} {said}. {summary(runs)}", "tag_memory", f"<p><b>{head}</b></p>",
                 _bar([(kind, size) for kind, _, size in parts], total),
                 f"<ul>{items}</ul><p><b>The requests of hardware queue 0</b></p>")


def _line(label: str, size: int, total: int) -> str:
    return f"{label}: {f'{size >> 10} KiB' if size >= 1024 else f'{size} bytes'}, {size / total:.0%}"


def _bar(parts: list[tuple[str, int]], most: int) -> str:
    """A bar of parts (kind, size), as wide as there is room where they are `most` together."""
    x, shapes = 0.0, []
    for kind, size in parts:
        start, wide = 1000 * x / most, 1000 * size / most
        shapes.append(f'<rect class="box {kind}" x="{start:.2f}" width="{wide:.2f}" height="20"/>')
        x += size
    return stretched("blk-cost-bar", 1000, 20, "".join(shapes), ' aria-hidden="true"')
