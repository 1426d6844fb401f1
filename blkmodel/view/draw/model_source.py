"""The model's own source of a function: its lines, and as HTML with a light touch of colour."""

import inspect
import keyword
import re
from functools import cache
from html import escape

from blkmodel.reference import mirror

_ROOM = 22
_TOKENS = re.compile(r'(?P<quiet>"""[\s\S]*?"""|\#[^\n]*)|(?P<text>[rfb]?"(?:\\.|[^"\\\n])*"|'
                     r"[rfb]?'(?:\\.|[^'\\\n])*')|(?P<word>[A-Za-z_]\w*)|[\s\S]")


@cache
def source(function: str, file: str) -> tuple[str, ...]:
    """The lines of a function of the mirror, without those that are blank at its end."""
    return tuple(inspect.getsource(mirror.by_place()[function, file]).rstrip().split("\n"))


def line_of_call(function: str, file: str, called: str) -> int | None:
    """Which line of a function calls another: its number in source(), if that can be told by the name alone."""
    found = [i for i, line in enumerate(source(function, file)) if i and re.search(rf"\b{re.escape(called)}\(", line)]
    return found[0] if len(found) == 1 else None


def model_source(function: str, file: str, marked: int | None = None) -> str:
    """A function's source, one line of it marked; of a long one its beginning, and the lines around the mark."""
    lines = _coloured(function, file).split("\n")
    kept, rows, before = _kept(source(function, file), marked), [], -1
    for i in kept:
        if i > before + 1:
            rows.append(f"<span><i>⋯ {i - before - 1} lines</i></span>")
        here, text = ' class="here"' if i == marked else "", source(function, file)[i]
        rows.append(f'<span{here} style="--in:{len(text) - len(text.lstrip())}">{lines[i] or " "}</span>')
        before = i
    if before + 1 < len(lines):
        rows.append(f"<span><i>⋯ {len(lines) - before - 1} lines</i></span>")
    return f'<div class="blk-code">{"".join(rows)}</div>'


def _kept(lines: tuple[str, ...], marked: int | None) -> list[int]:
    """The numbers of the lines to show: no documentation but its first line, and not more than fit beside a tree."""
    start = next((i for i, line in enumerate(lines) if '"""' in line), None)
    quiet: set[int] = set()
    if start is not None and lines[start].count('"""') == 1:
        end = next(i for i in range(start + 1, len(lines)) if '"""' in lines[i])
        quiet = set(range(start + 1, end + 1))
    if len(code := [i for i in range(len(lines)) if i not in quiet]) <= _ROOM:
        return code
    low = min(max((code.index(marked) if marked in code else 0) - _ROOM // 2, 2), len(code) - _ROOM + 2)
    return code[:2] + code[low:low + _ROOM - 2]


@cache
def _coloured(function: str, file: str) -> str:
    """The source with documentation and comments quiet, keywords and the functions of the mirror marked."""
    names = {name for name, _ in mirror.by_place()}

    def mark(match: re.Match[str]) -> str:
        said = escape(match[0])
        if match["quiet"]:
            return "\n".join(f"<i>{line}</i>" for line in said.split("\n"))
        if keyword.iskeyword(match[0]):
            return f"<em>{said}</em>"
        return f"<b>{said}</b>" if match[0] in names else said
    return _TOKENS.sub(mark, "\n".join(source(function, file)))
