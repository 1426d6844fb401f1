"""The calls of a scenario as a tree that folds, each function linked to the kernel's source and to the model's."""

from html import escape

from blkmodel.reference.source import REFERENCE, line_of
from blkmodel.view.draw.styles import sheets

_STYLE = sheets("base", "call_tree")


def kernel_url(function, file):
    """Where the kernel's own source of a function can be read, at the reference tag; None for what is not in it."""
    line = line_of(function, file)
    return line and f"https://elixir.bootlin.com/linux/{REFERENCE}/source/{file}#L{line}"


def model_url(function, file):
    """Where the model's source of a function stands in the site, seen from a chapter's page."""
    module = file.removesuffix(".c").replace("-", "_")
    return f"../model/{module}.html#{function}"


def source_links(function, file):
    """Two links: to a function in the kernel (C), and in the model."""
    url, name = kernel_url(function, file), escape(function)
    kernel = f'<a href="{url}" aria-label="{name} in C">C</a>' if url else ""
    model = f'<a href="{model_url(function, file)}" aria-label="{name} in the model">model</a>'
    return f'<span class="blk-links">{kernel}{model}</span>'


def who(context):
    """A context in words: its kind, its name, and the CPU that it runs on; a device runs on none."""
    return f"{context.kind} {context.name}" + (f", CPU {context.cpu}" if context.kind != "device" else "")


def call_tree(recording, roots=None, unfolded=3, notes=None):
    """Draw the calls of a recording, context by context.

    roots: only what is below these functions. unfolded: how many levels are open at first. notes: function → a
    remark that stands behind it. Calls that are alike and follow each other stand once, with their number.
    """
    parts = []
    for context, nodes in recording.forest(roots).items():
        parts.append(f'<p class="context">{escape(who(recording.contexts[context]))}</p>')
        parts.append(_list(nodes, unfolded, notes or {}))
    return f'<div class="blk blk-calls"><style>{_STYLE}</style>{"".join(parts)}</div>'


def _list(nodes, unfolded, notes):
    items = "".join(f"<li>{_call(node, count, unfolded, notes)}</li>" for node, count in _runs(nodes))
    return f"<ul>{items}</ul>"


def _call(node, count, unfolded, notes):
    name = f'<span class="name">{escape(node.function)}</span>'
    note = [f"× {count}"] if count > 1 else []
    note += [notes[node.function]] if node.function in notes else []
    remark = f'<span class="note">{escape(" · ".join(note))}</span>' if note else ""
    line, links = f"{name}{remark}", source_links(node.function, node.file)
    if not node.calls:
        return f'<span class="call">{line}</span>{links}'
    opened = " open" if unfolded > 0 else ""
    return f"<details{opened}><summary>{line}</summary>{_list(node.calls, unfolded - 1, notes)}</details>{links}"


def _runs(nodes):
    """Group calls that follow each other and are alike, to the last call below them: [(first of them, how many)]."""
    runs: list[list] = []
    for node in nodes:
        shape = _shape(node)
        if runs and runs[-1][0] == shape:
            runs[-1][2] += 1
        else:
            runs.append([shape, node, 1])
    return [(node, count) for _, node, count in runs]


def _shape(node):
    return (node.function, node.file, tuple(map(_shape, node.calls)))
