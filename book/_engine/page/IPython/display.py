"""What cells of chapters use of IPython, in a page, where it is not."""

from cells import show


class HTML:
    """Text that a page shows as HTML."""

    def __init__(self, data=""):
        self.data = data

    def _repr_html_(self):
        return self.data


class SVG(HTML):
    """A drawing."""


def display(*things):
    """Show things among what the cell prints."""
    for each in things:
        show(each)
