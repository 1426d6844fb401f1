"""The style sheets of figures, a `.css` file each beside this module: a rule a line; a longer one goes on, indented."""

from importlib.resources import files


def sheets(*names: str) -> str:
    """Return the text of these style sheets, one behind the other, without line ends and indentation.

    Modules call it while they are imported: what keeps a memory image of them need not keep the files.
    """
    lines = "\n".join(files(__name__).joinpath(f"{name}.css").read_text("utf8") for name in names).split("\n")
    return "".join(line.strip() for line in lines if not line.lstrip().startswith("/*"))
