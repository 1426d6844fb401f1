"""What every figure must be: the same each time, and well-formed, so that a page and a parser read the same."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape


def parsed(html):
    """The root of a figure that is one element and well-formed."""
    return ET.fromstring(html)


def words(html):
    """All that a figure says to the eye, in one line."""
    found = re.sub(r"<style>.*?</style>", "", html)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found)).split())


def label(html):
    """What it says to those who cannot see it."""
    return parsed(html).get("aria-label")


def in_fresh_interpreters(expression, module):
    """The values of an expression in interpreters of their own, each with another order of hashes."""
    code = f"from {module} import *; print({expression})"
    return {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout for seed in "12"}
