"""The bits of a tag bitmap: taken, free, and given back but not yet free; where CPUs look first, and who waits.

    live(tag_map, depth=(1, 256), cpus=(1, 16), round_robin=False, shallow=(0, 16), seed=(1, 99), step=Steps(STEPS),
         start={"step": 20})
"""

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from blkmodel.include.linux.sbitmap import sbitmap_queue, sbitmap_word, sbq_wait_state
from blkmodel.lib.sbitmap import sbitmap_cleared, sbitmap_weight
from blkmodel.sim import booted, layouts, machine
from blkmodel.view.draw import group, keys, panel, rect, text
from blkmodel.view.facts.tag_story import STEPS, story
from blkmodel.view.facts.words import many, within

_PER_ROW, _LEFT = 16, 26


def tag_map(depth: int = 16, cpus: int = 4, round_robin: bool = False, shallow: int = 0, seed: int = 1,
            step: int = 0) -> str:
    """Draw the tags of a hardware queue after `step` moves of a story in which tasks take them and give them back.

    depth: tags in all. shallow: if above 0, tasks may have only that many bits of each word, as a scheduler's writes.
    """
    within("step", step, STEPS)
    with booted(machine(cpus)) as kernel:
        told = story(kernel, depth, step, round_robin, shallow, seed)
        said = told.said or ["All tags are free. Each CPU's first hint is "
                             + ("tag 0." if round_robin else "a random tag, so that they begin in different words.")]
        return bitmap(told.bits, owners=told.owners, said=said, touched=told.touched, woken=told.woken, shallow=shallow)


def bitmap(sbq: sbitmap_queue, owners: dict[int, int] | None = None, said: Sequence[str] = (),
           touched: Collection[int] = (), woken: Collection[int] = (), shallow: int = 0) -> str:
    """Draw a sbitmap_queue as it is now.

    owners: tag → the CPU that took it. said: sentences on what just happened; touched, woken: the bits and wait queues
    that it changed. shallow: bits of each word that may be had, 0 for all.
    """
    owners = owners or {}
    now = "".join(f"<li>{escape(each)}</li>" for each in said)
    least = min(_PER_ROW, 1 << sbq.sb.shift) * _cell(sbq) + _LEFT
    words = "".join(_word(sbq, i, owners, touched, shallow) for i in range(sbq.sb.map_nr))
    return panel("blk-tags", describe(sbq, said), "tag_map", f'<ul class="now">{now}</ul>' if now else "",
                 f"<p><b>{escape(_counts(sbq))}</b></p><p>{_key(shallow)}</p>",
                 f'<div class="words" style="grid-template-columns:repeat(auto-fill,minmax(min(100%,{least}px),1fr))" '
                 f'aria-hidden="true">{words}</div>', _hints(sbq), _queues(sbq, woken), _apart(sbq))


def describe(sbq: sbitmap_queue, said: Sequence[str] = ()) -> str:
    """Say in words what the map shows."""
    words = "; ".join(f"word {i}: taken {_bits(word.word & ~word.cleared, i << sbq.sb.shift)}, "
                      f"given back {_bits(word.cleared, i << sbq.sb.shift)}"
                      for i, word in enumerate(sbq.sb.map[:sbq.sb.map_nr]))
    hints = ", ".join(f"CPU {cpu} at {hint}" for cpu, hint in enumerate(sbq.alloc_hint))
    waits = "; ".join(f"ws[{i}]: {', '.join(name for name, _ in _waiters(ws))}"
                      for i, ws in enumerate(sbq.ws) if _waiters(ws))
    return " ".join([*said, _counts(sbq), f"W{words[1:]}.", f"Hints: {hints}.",
                     f"Waiting: {waits or 'nobody'}. Next to be woken: ws[{sbq.wake_index}]."])


def _counts(sbq: sbitmap_queue) -> str:
    back = sbitmap_cleared(sbq.sb)
    taken = sbitmap_weight(sbq.sb) - back
    return (f"{sbq.sb.depth} tags in {many(sbq.sb.map_nr, 'word')} of {1 << sbq.sb.shift} bits: {taken} taken, {back} "
            f"given back but not free yet, {sbq.sb.depth - taken - back} free.")


def _bits(number: int, first: int) -> str:
    return ",".join(str(first + bit) for bit in range(number.bit_length()) if number >> bit & 1) or "none"


def _waiters(ws: sbq_wait_state) -> list[tuple[str, int | None]]:
    """The name and the CPU of each task in a wait queue, first come first."""
    return [(getattr(each.private, "name", "a hardware queue"), getattr(each.private, "cpu", None))
            for each in ws.wait.head]


def _cell(sbq: sbitmap_queue) -> int:
    """How wide a bit is: small words get large bits."""
    return 28 if sbq.sb.shift <= 2 else 24 if sbq.sb.shift == 3 else 18


def _word(sbq: sbitmap_queue, index: int, owners: dict[int, int], touched: Collection[int], shallow: int) -> str:
    word, first, cell = sbq.sb.map[index], index << sbq.sb.shift, _cell(sbq)
    hints: dict[int, list] = {}
    for cpu, hint in enumerate(sbq.alloc_hint):
        hints.setdefault(hint, []).append(cpu)
    labels = sbq.sb.depth <= 64
    tall = cell + (13 if labels else 3)
    width, height = _LEFT + min(word.depth, _PER_ROW) * cell + 3, -(-word.depth // _PER_ROW) * tall + 3
    parts = [text(_LEFT - 5, at // _PER_ROW * tall + cell / 2 + 4, first + at, "num dim", "end")
             for at in range(0, word.depth, _PER_ROW)]
    for bit in range(word.depth):
        x, y, tag = _LEFT + bit % _PER_ROW * cell + 1, bit // _PER_ROW * tall + 1, first + bit
        far = bool(shallow) and bit >= shallow
        parts.append(_bit(word, bit, tag, owners, tag in touched, far, hints.get(tag, ()), (x, y, cell - 2), labels))
    taken, back = (word.word & ~word.cleared).bit_count(), word.cleared.bit_count()
    return (f'<div class="word" data-key="word{index}"><b>word {index}</b> <span class="dim">{taken} taken, '
            f'{back} cleared</span><svg xmlns="http://www.w3.org/2000/svg" class="blk-tags-bits" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg></div>')


def _bit(word: sbitmap_word, bit: int, tag: int, owners: dict[int, int], new: Any, far: bool, hints: Sequence[int],
         place: tuple[int, int, int], labels: bool) -> str:
    x, y, size = place
    taken, back = word.word >> bit & 1, word.cleared >> bit & 1
    state = "given back, not free yet" if back else "taken" if taken else "free"
    parts = [rect(x, y, size, size, "box tags" if taken and not back else "box deep" if far else "box", 2)]
    if back:
        a, b, half = 3, size - 3, size / 2
        parts.append(f'<path class="back" d="M{x + a} {y + b}L{x + b} {y + a}M{x + a} {y + half:g}L{x + half:g} {y + a}'
                     f'M{x + half:g} {y + b}L{x + b} {y + half:g}"/>')
    elif taken and tag in owners:
        parts.append(text(x + size / 2, y + size / 2 + 4, owners[tag], "num on", "middle"))
        state += f" by CPU {owners[tag]}"
    if new:
        parts.append(rect(x - .5, y - .5, size + 1, size + 1, "new", 3))
    if hints:
        parts.append(f'<path class="poll" d="M{x} {y}h8l-8 8z"/>')
        if labels:
            shown = f"{hints[0]}{'+' if len(hints) > 1 else ''}"
            parts.append(text(x + size / 2, y + size + 10.5, f"▴{shown}", "num", "middle"))
    tip = f"tag {tag}: {state}" + (", out of reach at this depth" if far and not taken else "")
    return group(parts, "part", tip + (f"; CPU {', '.join(map(str, hints))} will look here first" if hints else ""))


def _key(shallow: int) -> str:
    """What the cells mean."""
    cells = [('<rect class="box tags" x="1" y="1" width="13" height="13" rx="2"/>', "taken, by CPU"),
             ('<rect class="box" x="1" y="1" width="13" height="13" rx="2"/>'
              '<path class="back" d="M3 12L12 3M3 7L7 3M8 12L12 8"/>', "in cleared"),
             ('<rect class="box" x="1" y="1" width="13" height="13" rx="2"/>', "free"),
             ('<path class="poll" d="M1 1h9l-9 9z"/>', "a CPU's hint"),
             ('<rect class="new" x="2" y="2" width="11" height="11" rx="2"/>', "just changed")]
    if shallow:
        cells.append(('<rect class="box deep" x="1" y="1" width="13" height="13" rx="2"/>', "too deep"))
    return keys("blk-tags-key", cells)


def _hints(sbq: sbitmap_queue) -> str:
    chips = "".join(f'<span class="chip">CPU {cpu} → {hint}</span>' for cpu, hint in enumerate(sbq.alloc_hint))
    how = "the bit after the last that it took" if sbq.round_robin else "mostly the bit that it gave back last"
    return f'<p>Where each CPU looks first, <span class="dim">{how}:</span> {chips}</p>'


def _queues(sbq: sbitmap_queue, woken: Collection[int]) -> str:
    """The wait queues: how many tags must still come back before each wakes somebody, and who stands in it."""
    boxes = []
    for i, ws in enumerate(sbq.ws):
        turn, mark = (" turn", "▸ ") if i == sbq.wake_index else ("", "")
        chips = "".join(f'<span class="chip">{escape(name)}</span>' for name, _ in _waiters(ws))
        boxes.append(f'<div class="ws{turn}{" woke" if i in woken else ""}">{mark}ws[{i}]<br/>'
                     f'<span class="dim">{ws.wait_cnt} to go</span><br/>{chips}</div>')
    most, asleep = sbq.wake_batch, sum(len(_waiters(ws)) for ws in sbq.ws)
    batch = "Each tag that comes back wakes" if most == 1 else f"Every {most} tags that come back wake"
    return (f'<p>{batch} up to {most} of one wait queue, <span class="dim">and then it is the next queue\'s '
            f'turn (▸). Tasks that sleep: {asleep}.</span></p>'
            f'<div class="queues">{"".join(boxes)}</div>')


def _apart(sbq: sbitmap_queue) -> str:
    """Why words are far apart: a word's three numbers lie in three cache lines."""
    word = layouts()["sbitmap_word"]
    at = {field["name"]: field["offset"] for field in word["fields"]}
    lines = word["size"] // 64
    return (f'<p class="dim">A word takes {word["size"]} bytes: its depth, its bits (at byte {at["word"]}) and its '
            f'cleared bits (at byte {at["cleared"]}) lie in {lines} cache lines of their own. So a CPU that gives a '
            "tag back does not disturb one that takes a tag, and CPUs in different words do not meet at all. "
            f"The {sbq.sb.map_nr * word['size']} bytes hold {sbq.sb.depth} bits.</p>")
