"""How a failure goes outwards: what each caller returned, and what the kernel said. Figures of failures share it."""

import re
from html import escape

from blkmodel.services.base.err import IS_ERR, PTR_ERR
from blkmodel.services.base.errno import NAMES
from blkmodel.view.draw import figure, model_source
from blkmodel.view.draw.call_tree import source_links

STYLE = figure.STYLE + (
    ".blk-break{font-size:13px;line-height:1.5}.blk-break p{margin:0 0 6px}"
    ".blk-break h4{font-size:13px;font-weight:600;line-height:1.5;margin:12px 0 4px}"
    ".blk-break .says{font-size:15px}.blk-break a{color:var(--blk-default)}"
    ".blk-break .dim{color:var(--blk-dim)}"
    ".blk-break :is(code,.log){font:12px/1.5 var(--blk-code);color:inherit;"
    "background:none;border:0;padding:0;overflow-wrap:anywhere}"
    ".blk-break .log{margin:0;list-style:none}.blk-break .bad{color:var(--blk-changed);font-weight:600}"
    ".blk-break .two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:0 24px;"
    "align-items:start}.blk-break .two>div{min-width:0}"
    ".blk-frames{list-style:none;margin:0;padding:0;border-left:2px solid var(--blk-line)}"
    ".blk-frames li{margin:0;padding:1px 0 1px 8px;display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline}"
    ".blk-frames li>b{margin-left:auto;font-weight:600;font-size:12px}.blk-frames small{font-size:11px}"
    ".blk-frames .failed{box-shadow:inset 3px 0 var(--blk-changed);background:var(--blk-band)}"
)


def frames(path, status=None):
    """The calls that a failure goes through on its way out (Nodes, outermost first), with what each returned.

    status: the number that is a controller's status where a call returns it.
    """
    if not path:
        return ""
    items = []
    for i, node in enumerate(reversed(path)):
        state = ' class="failed"' if i == 0 else ""
        value = node.value[0] if isinstance(node.value, tuple) else node.value  # the others C stores by a pointer
        failed = status is not None and value == status
        returned = f"status {status:#x}" if failed else _returned(node, value)
        tone = ' class="bad"' if failed or returned in ("NULL", "false") or _is_error(value) else ""
        items.append(f"<li{state}><code>{escape(node.function)}</code> {source_links(node.function, node.file)}"
                     f"<b{tone}>{escape(returned)}</b></li>")
    return f'<h4>What each caller returned, from the failure outwards</h4><ol class="blk-frames">{"".join(items)}</ol>'


def _is_error(value):
    return IS_ERR(value) or (isinstance(value, int) and not isinstance(value, bool) and -value in NAMES)


def _returned(node, value):
    if IS_ERR(value):
        return f"ERR_PTR(-{NAMES.get(-PTR_ERR(value), -PTR_ERR(value))})"
    if _is_error(value):
        return f"-{NAMES[-value]}"
    if value is None:
        returns = any(re.search(r"\breturn \S", line) for line in model_source.source(node.function, node.file))
        return "NULL" if returns else "nothing"
    if isinstance(value, bool | int):
        return str(value).lower()
    return f"a {type(value).__name__}"


def kernel_log(lines):
    """What the kernel said."""
    said = "".join(f"<li>{escape(line)}</li>" for line in lines) or '<li class="dim">nothing</li>'
    return f'<h4>Kernel log</h4><ul class="log">{said}</ul>'
