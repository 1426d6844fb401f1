"""The tags of hardware queues while several processes read: who has them, who waits, and what is whose share.

    live(tags_under_load, processes="0 0 0 1", reads=(1, 12), queues=(1, 4), depth=(1, 32), step=Steps(last_step))
"""

from html import escape
from typing import Any

from blkmodel.view.draw import group, keys, panel, rect, text
from blkmodel.view.facts.tag_load import Queue, Share, disks_of, moments
from blkmodel.view.facts.words import within

_PER_ROW, _CELL = 16, 24
_COLOURS = ("default", "poll", "read")


def last_step(processes: str = "0 0 0 1", reads: int = 6, queues: int = 1, depth: int = 8) -> int:
    """How many moments there are after the first."""
    return len(moments(disks_of(processes), reads, queues, depth)) - 1


def tags_under_load(processes: str = "0 0 0 1", reads: int = 6, queues: int = 1, depth: int = 8, step: int = 0) -> str:
    """Draw all tags after `step` of what happens while processes read, each on a CPU of its own.

    processes: the disk that each of them reads, 0 to 2. Each begins so many reads, one each microsecond, where no other
    is; a disk takes 10. The disks share one controller's tags: `queues` hardware queues of `depth` tags each.
    """
    told = moments(disks_of(processes), reads, queues, depth)
    within("step", step, len(told) - 1)
    now, disks = told[step], max(disks_of(processes)) + 1
    shown = "".join(_queue(n, queue, now.changed) for n, queue in enumerate(now.queues))
    label = " ".join([now.said, *(_describe(n, queue) for n, queue in enumerate(now.queues))])
    return panel("blk-load", label, "tags_under_load", f'<p class="now">{escape(now.said)}</p><p>{_key(disks)}</p>',
                 f'<div class="queues" aria-hidden="true">{shown}</div>')


def _share(share: Share, alone: bool) -> str:
    most = "" if alone else f" of at most {share.most}"
    cpus, one = ", ".join(map(str, share.waits)), len(share.waits) == 1
    waits = f"; {'CPU' if one else 'CPUs'} {cpus} wait{'s' * one} for one" if cpus else ""
    return f"disk {share.disk} has {share.has}{most}{waits}"


def _describe(number: int, queue: Queue) -> str:
    free = sum(owner is None for owner in queue.tags)
    return (f"Hardware queue {number}: {free} of {len(queue.tags)} tags are free; "
            + "; ".join(_share(share, len(queue.shares) == 1) for share in queue.shares) + ".")


def _queue(number: int, queue: Queue, changed: tuple[int, ...]) -> str:
    rows = -(-len(queue.tags) // _PER_ROW)
    width, height = min(len(queue.tags), _PER_ROW) * _CELL + 3, rows * _CELL + 3
    cells = "".join(_tag(tag, owner, (number, tag) == changed) for tag, owner in enumerate(queue.tags))
    shares = "".join(f"<li>{escape(_share(share, len(queue.shares) == 1))}</li>" for share in queue.shares)
    return (f'<div data-key="queue{number}"><h4>hardware queue {number}</h4><svg xmlns="http://www.w3.org/2000/svg" '
            f'class="blk-load-tags" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{cells}</svg>'
            f"<ul>{shares}</ul></div>")


def _tag(tag: int, owner: tuple[int, int] | None, new: Any) -> str:
    x, y, size = tag % _PER_ROW * _CELL + 1, tag // _PER_ROW * _CELL + 1, _CELL - 2
    parts = [rect(x, y, size, size, f"box {_COLOURS[owner[0]]}" if owner else "box", 2)]
    if owner:
        parts.append(text(x + size / 2, y + size / 2 + 4, owner[1], "num on", "middle"))
    if new:
        parts.append(rect(x - .5, y - .5, size + 1, size + 1, "new", 3))
    return group(parts, "part", f"tag {tag}: " + (f"CPU {owner[1]}'s, for disk {owner[0]}" if owner else "free"))


def _key(disks: int) -> str:
    cells = [(f'<rect class="box {_COLOURS[disk]}" x="1" y="1" width="13" height="13" rx="2"/>',
              f"taken for disk {disk}, by this CPU") for disk in range(disks)]
    cells += [('<rect class="box" x="1" y="1" width="13" height="13" rx="2"/>', "free"),
              ('<rect class="new" x="2" y="2" width="11" height="11" rx="2"/>', "just taken or given back")]
    return keys("blk-load-key", cells)
