"""The whole stack with one read of 4 KiB in it: down on the left, up on the right, each part a link to its chapter.

    live(stack, cpu=(0, 3), queues=(1, 4), first=(0, 1020, 4), mapped=False)
"""

from html import escape

from blkmodel.trace import ContextRecord
from blkmodel.view.draw import panel
from blkmodel.view.facts.one_read import LAYERS, Part, parts


def stack(cpu: int = 1, queues: int = 4, first: int = 0, mapped: bool = False) -> str:
    """Draw a read of 4 KiB by a process on that CPU, `first` KiB from the start of an NVMe disk of so many queues.

    mapped: it reads a linear volume on that disk.
    """
    way = list(enumerate(parts(cpu, queues, first, mapped), 1))
    down = next(number for number, part in way if part.name == "Controller")
    label = " ".join(f"{number}. {part.name}: {part.says}; {_who(part.who)}." for number, part in way)
    rows = ['<div class="layer"><b></b><div>down ↓</div><div>↑ back up</div></div>']
    for number, name in enumerate(LAYERS):
        there = [each for each in way if each[1].layer == number]
        sides = ("".join(_part(*each) for each in there if (each[0] <= down) == left) for left in (True, False))
        rows.append(f'<div class="layer"><b>{name}</b>{"".join(f"<div>{side}</div>" for side in sides)}</div>'
                    if there else "")
    return panel("blk-stack", label, "stack", *rows)


def _part(number: int, part: Part) -> str:
    kind = "worker" if part.who.kind == "task" and part.who.name != "dio" else part.who.kind
    return (f'<a class="part k-{kind}" href="{part.chapter}.html"><b>{number} {escape(part.name)}</b>'
            f"{escape(part.says)} <i>{_who(part.who)}</i></a>")


def _who(who: ContextRecord) -> str:
    kind = {"task": "process" if who.name == "dio" else who.name, "irq": "interrupt"}.get(who.kind, who.kind)
    return kind if who.kind == "device" else f"{kind}, CPU {who.cpu}"
