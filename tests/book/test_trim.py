"""What pages load of Pyodide's JavaScript is shown to do what all of it does, or all of it is loaded."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from tests.book.conftest import ROOT

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def build(site):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book" / "_engine"))
        yield import_module("build")


@pytest.fixture(scope="module")
def imports(build):
    return set(json.loads(build.pack("imports", build.fetch_pyodide())))


@pytest.fixture
def copy(build, tmp_path):
    """Pyodide in a folder of its own, where its module may be trimmed otherwise."""
    for path in build.fetch_pyodide().iterdir():
        if path.is_file() and path.name not in (build.TRIMMED, build.SHORT):  # a link would be written through
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_less_than_half_is_loaded_and_refers_to_nothing_else(build, imports):
    missing = import_module("trim").missing
    place = build.fetch_pyodide()
    whole, short = ((place / name).read_text() for name in (build.WHOLE, build.TRIMMED))
    assert len(short) < len(whole) / 2
    assert missing(whole, short, imports) == set()
    without = short.replace("var stringToUTF8=", "var stringToUTF9=")
    assert missing(whole, without, imports) == {"stringToUTF8"}
    assert missing(whole, short.replace("fd_write:_fd_write,", ""), imports) == {"fd_write"}


@pytest.mark.parametrize(("old", "new", "why"), [
    ("ErrnoError(23)", "ErrnoError(26)", "it answers otherwise"),
    ("ErrnoError(44)", "ErrnoError(45)", "Program terminated"),
    ("var stringToUTF8=", "var stringToUTF9=", "it lacks stringToUTF8"),
])
def test_what_is_not_proved_is_not_used(build, copy, monkeypatch, capsys, old, new, why):
    def trimmed(whole, users, imports):
        assert old in whole
        return whole.replace(old, new)

    monkeypatch.setattr(build, "trimmed", trimmed)
    build.trim(copy)
    assert (copy / build.TRIMMED).read_text() == (copy / build.SHORT).read_text() == (copy / build.WHOLE).read_text()
    assert why in capsys.readouterr().err
