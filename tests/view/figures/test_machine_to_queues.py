"""The map from a machine to its queues: what it shows is what the model has."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest

from blkmodel.drivers.nvme.host.pci import nvme_queue
from blkmodel.releases import version
from blkmodel.sim import MachineError, booted, machine
from blkmodel.view.facts.queue_facts import (describe, hctxs, kinds_of, pair_of, path, queue_of, served, spare_pairs,
    summary, vector_of)
from blkmodel.view.figures.machine_to_queues import RELEASES, last_cpu, machine_to_queues
from blkmodel.view.figures.queue_map import queue_map

SMALL: dict[str, Any] = {"depth": 3}
MACHINES: list[dict[str, Any]] = [
    {"cpus": 1, "queues": 1},
    {"cpus": 1, "queues": 64},
    {"cpus": 8, "present": 5, "nodes": 2, "threads": 2, "queues": 4},
    {"cpus": 12, "nodes": 3, "queues": 8, "write_queues": 2, "poll_queues": 2},
    {"cpus": 64, "threads": 2, "nodes": 4, "queues": 64},
    {"cpus": 64, "queues": 1},
    {"cpus": 6, "queues": 4, "vectors": 1},
    {"cpus": 6, "queues": 4, "vectors": 0},
    {"driver": "null_blk", "cpus": 64, "present": 3, "queues": 64},
    {"driver": "null_blk", "cpus": 5, "queues": 1},
]


def parsed(html):
    return ElementTree.fromstring(html.replace("&nbsp;", " "))


def spoken(html):
    return unescape(re.search(r'aria-label="([^"]*)"', html)[1])


def shapes(tree, name, cls):
    return [e for e in tree.iter(f"{{http://www.w3.org/2000/svg}}{name}") if cls in e.get("class", "").split()]


@pytest.mark.parametrize("on", MACHINES, ids=str)
def test_it_shows_what_the_model_has(on):
    html = machine_to_queues(**SMALL | on)
    assert html == machine_to_queues(**SMALL | on)
    tree = parsed(html)
    what = {key: on[key] for key in ("write_queues", "poll_queues", "vectors") if key in on}
    with booted(machine(on["cpus"], on.get("nodes", 1), on.get("threads", 1), on.get("present"))) as kernel:
        q = queue_of(on.get("driver", "nvme"), on["queues"], depth=3, **what)
        ways = [way for ctx in q.queue_ctx for way in kinds_of(ctx, q)]
        assert spoken(html) == describe(q, kernel)
        assert summary(q, kernel) in unescape(html)
    assert len(shapes(tree, "path", "edge")) == len(ways) + len({hctx.type for hctx in hctxs(q)})
    assert len(shapes(tree, "rect", "edge-tags")) == sum(1 for hctx in hctxs(q) if hctx.tags)
    assert len(shapes(tree, "rect", "ctx")) == on["cpus"]
    there = [box for box in shapes(tree, "rect", "cpu") if "absent" not in box.get("class")]
    assert len(there) == on.get("present", on["cpus"])
    assert html.count('data-set="focus=') == on["cpus"]
    for hctx in hctxs(q):
        assert served(hctx) == {ctx.cpu for ctx in q.queue_ctx for _, used in kinds_of(ctx, q) if used is hctx}


def test_a_cpu_in_focus_is_followed_to_the_cpu_that_is_interrupted():
    on: dict[str, Any] = {"cpus": 8, "nodes": 2, "threads": 2, "queues": 6, "write_queues": 1, "poll_queues": 1}
    html = machine_to_queues(focus=5, **SMALL, **on)
    tree = parsed(html)
    with booted(machine(8, nodes=2, threads=2)) as kernel:
        q = queue_of("nvme", 6, 1, 1, depth=3)
        where, *ways = path(q, kernel, 5)
        lit = {hctx for _, hctx in kinds_of(q.queue_ctx[5], q)}
        assert where == "CPU 5, node 1, on one core with 4"
        assert [way.partition(" ")[0] for way in ways] == ["writes", "reads", "polled"]
        for hctx, way in zip(q.queue_ctx[5].hctxs, ways, strict=True):
            pair = pair_of(hctx)
            assert isinstance(pair, nvme_queue)
            assert f"hctx {hctx.queue_num} (3 tags) → queue pair {hctx.queue_num + 1}" in way
            vector = vector_of(pair)
            assert (vector is None) == ("polled" in way)
            assert vector is None or (5 in vector.cpus and vector.now <= vector.cpus)
    assert f"In focus: {'; '.join([where, *ways])}." in spoken(html)
    assert len(shapes(tree, "path", "lit")) == len(lit) == 3
    assert len(shapes(tree, "rect", "lit-box")) == 2 + 3 * 3 + 2
    assert 'data-set="focus=null"' in html


def test_a_focus_beyond_the_machine_is_none():
    assert machine_to_queues(cpus=2, focus=5, **SMALL) == machine_to_queues(cpus=2, **SMALL)
    assert last_cpu(2) == 1


def test_more_queues_than_cpus():
    with booted(machine(4)) as kernel:
        q = queue_of("nvme", 16, depth=3)
        assert spare_pairs(q) == 12
        assert "12 more queue pairs of the controller are not created." in summary(q, kernel)
        assert "+ 12 pairs not created" in queue_map(q, kernel)


def test_queues_without_cpus_are_said_to_have_no_tags():
    with booted(machine(2)) as kernel:
        q = queue_of("nvme", 4, write_queues=1, poll_queues=2, depth=3)
        q.queue_hw_ctx[0].nr_ctx = 0
        q.queue_hw_ctx[0].tags = None
        assert "No CPU uses queue 0: no tags." in summary(q, kernel)
        assert ">none</text>" in queue_map(q, kernel)


def test_evenness_and_nodes():
    with booted(machine(8, nodes=2)) as kernel:
        assert summary(queue_of("null_blk", 3, depth=1), kernel) == (
            "3 default queues: the busiest, 0, serves 3 CPUs, the least busy, 2, 2. "
            "Queues 0-2 serve CPUs of more than one node.")
    with booted(machine(8, nodes=2)) as kernel:
        assert summary(queue_of("nvme", 4, depth=1), kernel) == (
            "4 default queues each serve 2 CPUs. No queue serves CPUs of two nodes.")


def test_another_release():
    """The same machine and drivers; poll queues and null_blk's map are others' since 6.3."""
    def said(**more):
        html = machine_to_queues(**{"cpus": 8, "nodes": 2, "threads": 2, "poll_queues": 2, "queues": 4, **more})
        return re.findall("Hardware queue [0-9] .*?CPUs ([0-9,-]+), ", html)
    assert said() == said(release="6.2") == ["0-3", "4-7", "0,2-3,6-7", "1,4-5"]
    assert said(release="6.12") == ["0-3", "4-7", "0-3", "4-7"]
    assert said(release="6.3", driver="null_blk", poll_queues=0) == ["4-5", "6-7", "0-1", "2-3", "0-7"]
    assert said() == ["0-3", "4-7", "0,2-3,6-7", "1,4-5"]
    for release in RELEASES.values():
        assert version(release)


def test_what_cannot_be():
    with pytest.raises(ValueError, match="null_blk has no read queues, and polled ones only since Linux 5"):
        machine_to_queues(driver="null_blk", poll_queues=1)
    with pytest.raises(MachineError):
        machine_to_queues(cpus=2, present=3)
