"""The style sheets of figures, a `.css` file each beside this module: a rule a line; a longer one goes on, indented.

All are read while this module is imported: what keeps a memory image of the modules need not keep the files.
"""

from importlib.resources import files

_SHEETS = {path.name: "".join(line.strip() for line in path.read_text("utf8").split("\n") if line[:2] != "/*")
           for path in files(__name__).iterdir() if path.name.endswith(".css")}


def style(sheets: str = "") -> str:
    """The style that every figure has, and these sheets (names, separated by blanks), as text for a `style` element."""
    return "".join(_SHEETS[f"{name}.css"] for name in ("base", *sheets.split()))
