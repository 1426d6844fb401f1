"""The data pointer: its entries lead to every byte of the request's data, once, in order, by the driver's own rule."""

from __future__ import annotations

import itertools
import re

import pytest

from blkmodel.view.facts.data_pointers import described
from blkmodel.view.figures.data_pointer import THRESHOLDS, data_pointer
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

CASES = [(1, 1), (2, 1), (2, 2), (3, 3), (6, 1), (33, 1), (34, 1), (40, 1), (128, 128), (32, 16), (200, 1), (1024, 512),
         (1024, 16), (1024, 1024), (127, 1)]


def data(told):
    """The entries that are data, in the order in which the device goes through them."""
    found = [entry for entry in told.words if entry.what != "list"]
    return found + [entry for _, entries in told.lists for entry in entries if entry.what != "list"]


@pytest.mark.parametrize("sgl", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_leads_to_all_the_data(case, sgl):
    pages, run = case
    told = described(pages, run, sgl)
    entries = data(told)
    runs = min(-(-pages // run), 127)
    moved = min(pages, runs * run) * 4096
    if told.sgl or told.how == "nvme_pci_setup_prps":
        assert sum(entry.length for entry in entries) == moved
    breaks = sum(a.addr + a.length != b.addr for a, b in itertools.pairwise(entries))
    assert breaks == runs - 1
    assert told.requests == (1 if pages <= runs * run else -(-pages // (127 * run)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lists_are_linked(case):
    told = described(*case, False)
    addresses = [addr for addr, _ in told.lists]
    links = [entry.addr for entry in told.words if entry.what == "list"]
    for _, entries in told.lists:
        links += [entry.addr for entry in entries if entry.what == "list"]
        assert all(entry.what == "page" for entry in entries[:-1])
        assert len(entries) <= 512
    assert links == addresses


@pytest.mark.parametrize(("pages", "run", "sgl", "threshold", "how"), [
    (1, 1, True, 32768, "nvme_setup_prp_simple"), (2, 2, True, 32768, "nvme_setup_prp_simple"),
    (2, 1, True, 32768, "nvme_pci_setup_prps"), (3, 3, True, 32768, "nvme_setup_sgl_simple"),
    (3, 3, False, 32768, "nvme_pci_setup_prps"), (16, 8, True, 32768, "nvme_pci_setup_sgls"),
    (14, 7, True, 32768, "nvme_pci_setup_prps"), (14, 7, True, 4096, "nvme_pci_setup_sgls"),
    (16, 8, True, 0, "nvme_pci_setup_prps"), (3, 3, True, 0, "nvme_pci_setup_prps")])
def test_the_drivers_rule(pages, run, sgl, threshold, how):
    assert threshold in THRESHOLDS.values()
    told = described(pages, run, sgl, threshold)
    assert told.how == how
    assert how in words(data_pointer(pages, run, sgl, threshold))


def test_the_figure_shows_the_addresses():
    told = described(40, 1)
    html = data_pointer(40, 1)
    shown = set(re.findall(r"0x[0-9a-f]+", words(html)))
    first, last = told.lists[0][1][0], told.lists[0][1][-1]
    assert {f"{told.words[0].addr:#x}", f"{told.words[1].addr:#x}", f"{first.addr:#x}", f"{last.addr:#x}"} <= shown
    assert "39 in all" in words(html)
    assert parsed(html).get("role") == "group"
    assert label(html).startswith("160 KiB are described page by page, in 1 list with 39 entries of 8 bytes")
    assert "800 KiB are 2 requests" in label(data_pointer(200, 1))


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("data_pointer(40, 1)", "blkmodel.view.figures.data_pointer")) == 1
