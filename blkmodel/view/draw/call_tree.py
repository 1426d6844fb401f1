"""The calls of a scenario as a tree that folds, each function linked to the kernel's source and to the model's."""

from collections.abc import Collection
from html import escape
from itertools import groupby
from typing import Any

from blkmodel.reference.source import REFERENCE, line_of
from blkmodel.trace import ContextRecord, Node, Recording
from blkmodel.view.draw.figure import plain

SOURCE = f"https://elixir.bootlin.com/linux/{REFERENCE}/source"


def kernel_url(function: str, file: str) -> str | None:
    """Where the kernel's own source of a function can be read, at the reference tag; None for what is not in it."""
    line = line_of(function, file)
    return f"{SOURCE}/{file}#L{line}" if line else None


def model_url(function: str, file: str) -> str:
    """Where the model's source of a function stands in the site, seen from a chapter's page."""
    return f"../model/{file.removesuffix('.c').replace('-', '_')}.html#{function}"


def source_links(function: str, file: str) -> str:
    """Two links: to a function in the kernel (C), and in the model."""
    return two_links(escape(function), kernel_url(function, file), model_url(function, file))


def two_links(name: str, kernel: str | None, model: str) -> str:
    """Links to where something stands in the kernel, if anywhere, and in the model; name: what it is called there."""
    in_c = f'<a href="{kernel}" aria-label="{name} in C">C</a>' if kernel else ""
    return f'<span class="blk-links">{in_c}<a href="{model}" aria-label="{name} in the model">model</a></span>'


def who(context: ContextRecord) -> str:
    """A context in words: its kind, its name, and the CPU that it runs on; a device runs on none."""
    return f"{context.kind} {context.name}" + (f", CPU {context.cpu}" if context.kind != "device" else "")


def call_tree(recording: Recording, roots: Collection[str] | None = None, unfolded: int = 3,
              notes: dict[str, str] | None = None) -> str:
    """Draw the calls of a recording, context by context.

    roots: only what is below these functions. unfolded: how many levels are open at first. notes: function → a
    remark that stands behind it. Calls that are alike and follow each other stand once, with their number, and so do
    contexts.
    """
    def look(each: tuple[int, list[Node]]) -> tuple[Any, ...]:
        context, nodes = each
        return who(recording.contexts[context]), tuple(map(_shape, nodes))

    parts = []
    for (name, _), run in groupby(recording.forest(roots).items(), look):
        alike = [nodes for _, nodes in run]
        times = f'<span class="note">× {len(alike)}</span>' if len(alike) > 1 else ""
        parts.append(f'<p class="context">{escape(name)}{times}</p>{_list(alike[0], unfolded, notes or {})}')
    return plain("".join(parts), "blk-calls", "call_tree")


def _list(nodes: list[Node], unfolded: int, notes: dict[str, str]) -> str:
    runs = (list(alike) for _, alike in groupby(nodes, _shape))
    return f"<ul>{''.join(f'<li>{_call(run[0], len(run), unfolded, notes)}</li>' for run in runs)}</ul>"


def _call(node: Node, count: int, unfolded: int, notes: dict[str, str]) -> str:
    name = f'<span class="name">{escape(node.function)}</span>'
    note = [f"× {count}"] if count > 1 else []
    note += [notes[node.function]] if node.function in notes else []
    remark = f'<span class="note">{escape(" · ".join(note))}</span>' if note else ""
    line, links = f"{name}{remark}", source_links(node.function, node.file)
    if not node.calls:
        return f'<span class="call">{line}</span>{links}'
    opened = " open" if unfolded > 0 else ""
    return f"<details{opened}><summary>{line}</summary>{_list(node.calls, unfolded - 1, notes)}</details>{links}"


def _shape(node: Node) -> tuple[Any, ...]:
    return (node.function, node.file, tuple(map(_shape, node.calls)))
