"""How a failure goes outwards: what each caller returned, and what the kernel said. Figures of failures share it."""

import re
from html import escape
from typing import Any

from blkmodel.services import IS_ERR, NAMES, PTR_ERR
from blkmodel.trace import Node
from blkmodel.view.draw.call_tree import source_links
from blkmodel.view.draw.model_source import source
from blkmodel.view.draw.strips import log


def frames(path: tuple[Node, ...], status: int | None = None) -> str:
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


def _is_error(value: Any) -> bool:
    return IS_ERR(value) or (isinstance(value, int) and not isinstance(value, bool) and -value in NAMES)


def _returned(node: Node, value: Any) -> str:
    if IS_ERR(value):
        return f"ERR_PTR(-{NAMES.get(-PTR_ERR(value), -PTR_ERR(value))})"
    if _is_error(value):
        return f"-{NAMES[-value]}"
    if value is None:
        returns = any(re.search(r"\breturn \S", line) for line in source(node.function, node.file))
        return "NULL" if returns else "nothing"
    return str(value).lower() if isinstance(value, bool | int) else f"a {type(value).__name__}"


def kernel_log(lines: list[str], nothing: str = "nothing") -> str:
    """What the kernel said; `nothing`: what stands there if it did not."""
    return f"<h4>Kernel log</h4>{log(lines, nothing)}"
