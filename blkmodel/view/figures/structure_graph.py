"""Any object of the model and what it points to, as cards that fold: fields, sizes, addresses.

    live(structure_graph, scenario=Choice(KEPT), root=Text(size=30), depth=(0, 4), items=(1, 8), flipped="",
         everything=False)
"""

import json
import re
from collections.abc import Collection
from html import escape
from typing import Any

from blkmodel.sim import Kernel, address_of, this
from blkmodel.view.draw import cards, panel
from blkmodel.view.facts import objects
from blkmodel.view.facts.recorded import SCENARIOS, recorded

KEPT = {SCENARIOS[name].title: name for name in ("load", "load-one", "scheduler", "tag-set")}


def structure_graph(scenario: str = "load", root: str = "nullb0.queue.tag_set", depth: int = 2, items: int = 1,
                    flipped: str = "", everything: bool = False) -> str:
    """Draw an object of a kernel after a scenario, and what it points to.

    root: where to begin, as a path. depth: how many arrows deep. items: of an array, how many. flipped: paths from
    root, with commas between: what is folded there though it is not deep, or unfolded though it is. everything: also
    fields that are zero.
    """
    kernel = recorded(scenario).kernel
    chosen = {path.strip() for path in flipped.split(",")} - {""}
    with kernel:
        return graph(objects.find(kernel, root.strip()), depth, items, flipped=chosen, everything=everything,
                     path=root.strip())


def graph(thing: Any, depth: int = 2, items: int = 1, wanted: dict[str, list[str]] = objects.NOTHING,
          flipped: Collection[str] = frozenset(), everything: bool = False, path: str = "") -> str:
    """Draw a structure or an array of the kernel that runs now, and what it points to.

    wanted: structure → the fields to show, where not all that are not zero. path: where the object is, in a live
    figure; a still has no buttons. Each object is drawn once, however many point to it: rows refer to cards by number.
    """
    nodes, rest = objects.nodes_from(thing, depth, flipped, lambda each: objects.rows(each, everything, items, wanted))
    more = f'<p class="dim">{rest} more are not drawn: fold something.</p>' if rest else ""
    return panel("blk-graph", _describe(nodes), "cards structure_graph", _way(path),
                 _drawn(nodes[0], this(), flipped, path), more)


def _way(path: str) -> str:
    """The way to the root, each part of which can be made the root."""
    parts = []
    for step in re.finditer(r".[^.[]*", path):
        root = path[:step.end()]
        parts.append(f'<button type="button" data-key="{escape(root)}" data-set="{_set("root", root)}">'
                     f'{escape(step[0].lstrip("."))}</button>')
    return f'<div class="blk-moves way">{" › ".join(parts)}</div>' if parts else ""


def _set(name: str, value: Any) -> str:
    return f"{name}={escape(json.dumps(value))}"


def _drawn(node: objects.Node, kernel: Kernel, flipped: Collection[str], path: str) -> str:
    """A card, and beside it those that it leads to."""
    tips = ("" if row.offset is None else f' title="at byte {row.offset}"' for row in node.rows)
    rows = "".join(f"<div{tip}><dt>{escape(row.name)}</dt><dd>{_value(node, row, flipped if path else None)}</dd></div>"
                   for tip, row in zip(tips, node.rows, strict=True))
    kind = cards.KINDS.get(objects.called(node.thing).partition("[")[0], "plain")
    name = escape(objects.called(node.thing))
    if path and node.path:
        name = f'<button type="button" data-set="{_set("root", objects.join(path, node.path))}">{name}</button>'
    kids = "".join(_drawn(kid, kernel, flipped, path) for kid in node.kids.values())
    return (f'<div class="node" data-key="{escape(node.path)}"><section class="blk-card kind-{kind}"><h5>'
            f'<span>{name}</span><span class="no">{node.number}</span><small>{_where(node.thing, kernel)}</small></h5>'
            f"<dl>{rows}</dl></section>" + (f'<div class="kids">{kids}</div>' if kids else "") + "</div>")


def _where(thing: Any, kernel: Kernel) -> str:
    size, addr = objects.size_of(thing), address_of(thing)
    held = kernel.memory.live.get(addr)
    parts = [] if size is None else [f"{size:,} bytes"]
    parts += [f"{addr:x}"] if addr else []
    parts += [f"node {held.node}"] if held and len(kernel.machine.nodes) > 1 else []
    return "<br/>".join(parts)


def _value(node: objects.Node, row: objects.Row, flipped: Collection[str] | None) -> str:
    """What a row holds; where it leads on, a button that folds what it leads to, or unfolds it (with `flipped`)."""
    if row.target is None:
        return escape(row.text)
    lead, sign = node.leads.get(row.name), "⊃" if row.inside else "→"
    if lead and row.name not in node.kids:
        return f"{sign} {lead.number}"
    what = lead.number if lead else escape(row.text or objects.called(row.target))
    if flipped is None:
        return f"{sign} {what}"
    says = f"{sign} {what}" if lead else f"▸ {what}"
    path = objects.join(node.path, row.name)
    others = ", ".join(sorted(set(flipped) ^ {path}))
    return (f'<button type="button" aria-expanded="{"true" if lead else "false"}" aria-label="{escape(path)}" '
            f'data-set="{_set("flipped", others)}">{says}</button>')


def _describe(nodes: list[objects.Node]) -> str:
    """The figure in words."""
    said = []
    for node in nodes:
        held = ", ".join(f"{row.name} to {node.leads[row.name].number}" if row.name in node.leads else
                         f"{row.name}={row.text or objects.called(row.target)}" for row in node.rows)
        size = objects.size_of(node.thing)
        said.append(f"{node.number}. {objects.called(node.thing)}{'' if size is None else f', {size} bytes'}: {held}.")
    return " ".join(["An object and what it points to.", *said])
