"""Which CPU uses which queue, release by release: against recordings of 6.12, and against the C where none is."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.block import blk_mq_cpumap
from blkmodel.capture import maps
from blkmodel.capture.check import FAILED, PASSED, SKIPPED, check_file
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.nvme.host import pci
from blkmodel.errors import KernelError, NotModelled
from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.kernel.irq import affinity
from blkmodel.lib.sort import sort
from blkmodel.releases import CHANGES, changes, running, version
from blkmodel.releases.spread import sort_6_9, sort_6_11
from blkmodel.services.cpus.interrupt import irq_affinity
from blkmodel.sim import booted, machine
from blkmodel.sim.machine import parse_cpulist
from tests.capture.test_recordings import KERNEL
from tests.machines import machines

LATER = KERNEL.with_name("linux-6.12") / "maps"
PACKAGED = KERNEL.with_name("debian") / "maps"


@pytest.mark.parametrize("path", [*sorted(LATER.glob("*.json")), *sorted(PACKAGED.glob("*.json"))],
                         ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_recordings_of_later_kernels(path):
    outcome = check_file(path)
    assert outcome.differences == []
    assert outcome.result == PASSED
    assert outcome.facts["cases"] == outcome.facts["passed"] > 0


def test_the_number_of_cases():
    assert sum(len(json.loads(path.read_text())["cases"]) for path in LATER.glob("*.json")) == 614
    assert sum(len(json.loads(path.read_text())["cases"]) for path in PACKAGED.glob("*.json")) == 124


@pytest.fixture
def labelled(tmp_path):
    """Check some cases of a recording, every eighth, with another release on its label."""
    def check(path, release, first=7, step=8):
        document = json.loads(path.read_text())
        document["cases"] = document["cases"][first::step]
        document["kernel"]["release"] = release
        (tmp_path / "labelled.json").write_text(json.dumps(document))
        return check_file(tmp_path / "labelled.json")
    return check


@pytest.mark.parametrize(("name", "release"), [("c4", "5.4.120"), ("c8smt", "5.15.0"), ("c12n3", "6.2.1")])
def test_a_wrong_label_fails(labelled, name, release):
    outcome = labelled(LATER / f"{name}.json", release)
    assert outcome.result == FAILED
    assert outcome.facts["passed"] < outcome.facts["cases"]


def test_the_order_of_equal_nodes_is_in_a_recording(labelled):
    """Three nodes of three CPUs: of 6.12 as of 6.11, and not as of 6.10 or 6.8, where they were sorted otherwise."""
    found = {release: labelled(PACKAGED / "6.12-c9n3.json", release).result for release in ("6.11", "6.10.1", "6.8.2")}
    assert found == {"6.11": PASSED, "6.10.1": FAILED, "6.8.2": FAILED}


@pytest.mark.parametrize("release", ["5.18.0", "5.17.3"])
def test_absent_cpus_are_in_a_recording(labelled, release):
    """Five of six CPUs on two nodes, under 6.1: as of 5.18. Before, one CPU was in two masks."""
    outcome = labelled(PACKAGED / "6.1-c5of6n2.json", release, 0, 1)
    assert outcome.result == (PASSED if release == "5.18.0" else FAILED), outcome.differences


@pytest.mark.parametrize("name", ["c4", "c12n3"])
def test_what_5_4_did_6_12_does_not(labelled, name):
    assert labelled(KERNEL / "maps" / f"{name}.json", "6.12.117").result == FAILED


@pytest.mark.parametrize("release", ["6.11.0", "6.12.90+deb13.1-amd64", "6.16.3-76061603-generic", "6.19"])
def test_releases_that_do_as_6_12(labelled, release):
    assert labelled(LATER / "c2.json", release).result == PASSED


@pytest.mark.parametrize(("release", "why"), [
    ("5.3.18", "known from 5.4 to 6.19"), ("4.19.0", "known from 5.4"), ("7.1.5", "grouped by clusters"),
    ("5.40.1", "release such as"), ("6.12.0-rc3", "does not tell what was put into it"),
    ("5.14.0-503.11.1.el9_5.x86_64", "does not tell what was put into it"),
    ("5.15.0-91-generic", "on which update"), ("5.4.0-150-generic", "on which update"), ("6.120", "release such as"),
    ("6", "release such as"), ("06.1", "release such as"), ("", "release such as"), ("6.1.2.3", "release such as"),
    ("x" * 4000, "release such as"), ("6.1\u0661", "release such as"), ("\ud800", "release such as")])
def test_releases_that_are_not_known_are_not_guessed(labelled, release, why):
    with pytest.raises(NotModelled, match=why) as raised:
        version(release)
    assert len(str(raised.value)) < 300
    outcome = labelled(LATER / "c2.json", release.encode("utf8", "replace").decode())
    assert outcome.result == SKIPPED
    assert why in outcome.summary


@pytest.mark.parametrize(("release", "count"), [
    ("5.4", 0), ("5.4.120", 0), ("5.4.189", 0), ("5.4.190", 1), ("5.10.111", 2), ("5.10.112", 3), ("5.15.34", 2),
    ("5.15.35", 3), ("5.16.20", 5), ("5.17.3", 5), ("5.17.4", 6), ("5.18.0", 6), ("6.1.0-37-amd64", 6), ("6.3.0", 7),
    ("6.8.12", 7), ("6.9.0", 9), ("6.11.0", 10), ("6.12.117", 10), ("6.16.12", 10), ("6.17.0-5-generic", 11),
    ("6.18.44-fc", 11)])
def test_the_changes_of_a_release(release, count):
    assert len(changes(release)) == count


def test_the_table_is_in_order_and_each_change_changes_something():
    order = [version(change.since) for change in CHANGES]
    assert all(a <= b for a, b in pairwise(order))
    assert all(getattr(change.module, change.name) is not change.now for change in CHANGES)


def test_the_mirror_is_back_afterwards():
    def now():
        return [getattr(change.module, change.name) for change in CHANGES]
    before = now()
    with running("6.19"):
        assert null_blk_main.setup_queues is not before[4]
    assert now() == before
    with pytest.raises(KernelError, match="EINVAL"):
        maps.observe(machine(2), "null_blk", {"hw_queue_depth": 0}, {}, "6.19")
    assert now() == before


# ---------------------------------------------------------------- the order of equal nodes


def in_bytes(items, cmp, last):
    """The C of 6.9 and later, statement by statement, with its byte offsets (elements of 8 bytes)."""
    base, size, shift = list(items), 8, 0
    n, a = len(base) * size, len(base) // 2 * size

    def swap(x, y):
        base[x // size], base[y // size] = base[y // size], base[x // size]
    if not a:
        return base
    while True:
        if a:
            a -= size << shift
        elif n > 3 * size:
            n -= size
            swap(0, n)
            shift = cmp(base[1], base[2]) <= 0
            a = size << shift
            n -= size
            swap(a, n)
        elif last and n > size:
            n -= size
            swap(0, n)
        else:
            break
        b = a
        while True:
            c = 2 * b + size
            d = c + size
            if not d < n:
                break
            b = c if cmp(base[c // size], base[d // size]) > 0 else d
        if d == n:
            b = c
        while b != a and cmp(base[a // size], base[b // size]) >= 0:
            b = (b // size - 1) // 2 * size
        c = b
        while b != a:
            b = (b // size - 1) // 2 * size
            swap(b, c)
    if not last:
        n -= size
        swap(0, n)
        if n == size * 2 and cmp(base[0], base[1]) > 0:
            swap(0, size)
    return base


def by_key(a, b):
    return a[0] - b[0]


@given(st.lists(st.integers(0, 4), max_size=40))
def test_ties_end_up_where_the_c_puts_them(keys):
    items = [(key, place) for place, key in enumerate(keys)]
    for ours, last in ((sort_6_9, True), (sort_6_11, False)):
        copy = list(items)
        ours(copy, len(copy), 8, by_key, None)
        assert copy == in_bytes(items, by_key, last)
        assert [key for key, _ in copy] == sorted(keys)


def test_three_equal_nodes_come_in_another_order():
    def order(ours):
        nodes = [(2, place) for place in range(3)]
        ours(nodes, 3, 8, by_key, None)
        return [place for _, place in nodes]
    assert [order(ours) for ours in (sort, sort_6_9, sort_6_11)] == [[1, 2, 0], [1, 2, 0], [2, 1, 0]]


# ---------------------------------------------------------------- spreading


def vectors(on, count, release):
    """The CPUs of each of a device's vectors but the first."""
    with running(release), booted(on):
        masks = affinity.irq_create_affinity_masks(count + 1, irq_affinity(pre_vectors=1))
        return [frozenset(each.mask) for each in masks[1:]]


def default_map(on, queues, release):
    """CPU → queue, of a device that has no vectors of its own."""
    with running(release), booted(on):
        qmap = blk_mq_queue_map(mq_map=[-1] * len(on.possible), nr_queues=queues, queue_offset=2)
        blk_mq_cpumap.blk_mq_map_queues(qmap)
        return list(qmap.mq_map)


@settings(max_examples=60)
@given(machines(cpus=24), st.integers(1, 24))
def test_since_5_18_a_cpu_has_one_vector(on, count):
    served = [cpu for cpus in vectors(on, count, "5.18") for cpu in cpus]
    assert sorted(served) == sorted(on.possible)


def test_until_5_17_absent_cpus_could_have_two():
    on = machine(6, nodes=2, present=5)
    assert on.nodes == {0: {0, 1, 2}, 1: {3, 4, 5}}
    assert vectors(on, 2, "5.17") == [{0, 1, 2, 5}, {3, 4, 5}]
    assert vectors(on, 2, "5.18") == vectors(on, 2, "5.17.4") == [{0, 1, 2, 5}, {3, 4}]


@settings(max_examples=60)
@given(machines(cpus=24), st.integers(1, 24))
def test_since_6_3_queues_are_grouped_as_vectors_are(on, count):
    groups = vectors(on, count, "6.12")
    mapped = default_map(on, count, "6.12")
    assert [{cpu for cpu in on.possible if mapped[cpu] == 2 + queue} for queue in range(count)] == groups
    assert default_map(on, count, "6.3") == default_map(on, count, "6.8")


@settings(max_examples=40)
@given(machines(cpus=12), st.integers(1, 24))
def test_more_queues_than_cpus(on, count):
    """Until 6.16 the first queues have the CPUs, since then the last; the groups are the same ones."""
    before, now = (default_map(on, count, release) for release in ("6.16", "6.17"))
    used = min(count, len(on.possible))
    assert {queue - 2 for queue in before} <= set(range(used))
    assert all((a - b) % used == 0 for a, b in zip(now, before, strict=True))
    assert all(queue - 2 >= count - used for queue in now)


def test_nodes_of_one_size_are_served_in_another_order():
    on = machine(12, nodes=3)
    first = {release: vectors(on, 4, release)[0] for release in ("6.8", "6.9", "6.11")}
    assert first == {"6.8": parse_cpulist("4-7"), "6.9": parse_cpulist("4-7"), "6.11": parse_cpulist("8-11")}


# ---------------------------------------------------------------- drivers


def interrupts(params, pairs, release):
    seen = maps.observe(machine(4), "nvme", params, {"max_ioqpairs": pairs, "vectors": 65}, release)
    return seen["queues"], seen["irq_affinity"]


def test_the_queue_that_polled_ones_leave():
    queues = {"default": 1, "read": 0, "poll": 3}
    assert interrupts({"poll_queues": 4}, 4, "5.9") == (queues, {"admin": "0-3", "1": "0-3"})
    found, irqs = interrupts({"poll_queues": 4}, 4, "5.10")
    assert (found, irqs) == (queues, {"admin": "0-3", "1": "0-3"})
    with running("5.9"), booted(machine(4)):
        assert pci.nvme_setup_irqs is not changes("5.10")[1].now


@pytest.mark.parametrize("name", ["write_queues", "poll_queues"])
def test_queues_beyond_the_cpus_are_refused(name):
    interrupts({name: 5}, 9, "5.7")
    with pytest.raises(KernelError, match="EINVAL"):
        interrupts({name: 5}, 9, "5.8")


def null_blk(release, **params):
    seen = maps.observe(machine(4), "null_blk", params, {}, release)
    return seen["scheduler"], [(hctx["type"], hctx["cpus"]) for hctx in seen["hctxs"]]


def test_null_blk_has_a_polled_queue_since_5_16():
    everyone = [0, 1, 2, 3]
    assert null_blk("5.15.40") == ("mq-deadline", [("default", everyone)])
    assert null_blk("5.16") == ("none", [("default", everyone), ("poll", everyone)])
    assert null_blk("6.12", poll_queues=0) == null_blk("5.4")
    assert null_blk("6.2", poll_queues=2)[1][1:] == [("poll", [0, 2]), ("poll", [1, 3])]
    assert null_blk("6.3", poll_queues=2)[1][1:] == [("poll", [0, 1]), ("poll", [2, 3])]
    assert null_blk("6.12", poll_queues=2, shared_tags=1) == null_blk("6.12", poll_queues=2)


def test_null_blk_takes_bios_no_more_since_6_9():
    with pytest.raises(NotModelled):
        null_blk("6.8", queue_mode=0)
    assert null_blk("6.9", queue_mode=0) == null_blk("6.9")


@pytest.mark.parametrize("params", [{"poll_queues": -1}, {"poll_queues": -5, "submit_queues": 4}])
def test_a_negative_number_of_polled_queues(params):
    with pytest.raises(KernelError, match="EINVAL"):
        null_blk("6.12", **params)
