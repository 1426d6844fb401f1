"""What a device costs before its first I/O: every request that there will ever be, packed into page runs."""

from blkmodel import scenario
from blkmodel.device import nvme
from blkmodel.sim import booted, machine
from blkmodel.view.figure import figure, group, rect, text
from blkmodel.view.page_runs import page_runs

_KINDS = (("memory", "requests", ("pages(",)),
          ("tags", "bitmaps, hints and wait queues of tags", ("sbitmap_word", "sbq_wait_state", "unsigned int[]")),
          ("ctx", "arrays of pointers", ("pointer[]",)),
          ("cpu", "queues and all else", ("",)))


def tag_memory(driver="nvme", depth=1023, queues=4):
    """Draw the page runs of one hardware queue's requests, and below what the whole device takes.

    depth: tags of each hardware queue. The machine has as many CPUs as there are queues.
    """
    with booted(machine(queues)) as kernel:
        before = set(kernel.memory.live)
        if driver == "nvme":
            dev = nvme.bring_up_queues(queues, io_queue_depth=depth + 1)
            nvme.namespace_queue(dev)
            tag_set = dev.tagset
        else:
            scenario.null_blk_load(submit_queues=queues, hw_queue_depth=depth)
            tag_set = scenario.disk("nullb0").queue.tag_set
        new = [each for addr, each in kernel.memory.live.items() if addr not in before]
        return page_runs(tag_set.tags[0], kernel.memory) + _totals(new, queues)


def _totals(allocations, queues):
    """Draw where the bytes of these allocations go, as one bar and a legend."""
    sums = dict.fromkeys(_KINDS, 0)
    for each in allocations:
        sums[next(kind for kind in _KINDS if each.kind.startswith(kind[2]))] += each.span
    total, width, x = sum(sums.values()), 640, 0.0
    parts = [text(0, 14, f"The whole device, {queues} hardware queue(s): {total >> 10} KiB", "head")]
    legend, words = [], []
    for i, ((kind, label, _), size) in enumerate(sums.items()):
        share = size / total
        line = f"{label}: {size >> 10} KiB, {share:.0%}"
        words.append(line)
        parts.append(rect(x, 24, share * width, 22, f"box {kind}", 0, line))
        legend.append(group([rect(i % 2 * 320, 56 + i // 2 * 20, 12, 12, f"box {kind}"),
                             text(i % 2 * 320 + 18, 66 + i // 2 * 20, line, "small")]))
        x += share * width
    label = f"The whole device takes {total >> 10} KiB. " + "; ".join(words) + "."
    return figure(width, 100, label, parts + legend)
