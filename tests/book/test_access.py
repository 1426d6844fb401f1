"""Every page for every reader. What a live figure shows once it was touched is looked at in test_live.py."""

from __future__ import annotations

import pytest

from tests.book.access import violations
from tests.book.conftest import visited

pytestmark = pytest.mark.site


@pytest.mark.parametrize("path", visited())
def test_axe_finds_nothing(window, origins, path):
    page = window.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{origins['file']}/{path}", wait_until="load")
    if path == "index.html":  # the front door leads on
        page.wait_for_url("**/book/index.html")
    assert violations(page) == []


def test_axe_finds_what_is_wrong(window, origins):
    window.page.goto(f"{origins['file']}/book/source-notes.html")
    wrong = '<button></button><p style="color: #999; background: #fff">pale</p>'
    window.page.evaluate("html => document.querySelector('main').insertAdjacentHTML('beforeend', html)", wrong)
    assert {each.split(": ")[1] for each in violations(window.page)} == {"button-name", "color-contrast"}
