"""What cells of chapters use of IPython, in a page, where it is not."""

from cells import display

__all__ = ["HTML", "SVG", "display"]


class HTML:
    """Text that a page shows as HTML."""

    def __init__(self, data=""):
        self.data = data

    def _repr_html_(self):
        return self.data


class SVG(HTML):
    """A drawing."""
