"""The style sheets of figures, a `.css` file each beside this module: a rule a line; a longer one goes on, indented.
base.css has the palette.

All are read while this module is imported: what keeps a memory image of the modules need not keep the files.
"""

from importlib.resources import files

SHEETS = {path.name.removesuffix(".css"): "".join(
    line.strip() for line in path.read_text("utf8").splitlines() if not line.startswith("/*"))
    for path in files(__name__).iterdir() if path.name.endswith(".css")}
"""Name of a sheet → its text, without line ends, indentation and comments."""


def style(sheets: str = "") -> str:
    """The style that every figure has, and these sheets (names, separated by blanks), as text for a `style` element."""
    return "".join(SHEETS[name] for name in ("base", *sheets.split()))
