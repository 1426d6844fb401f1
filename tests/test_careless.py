"""What a careless user does: steps at things that are none of their kind, twice, at once, or in a circle. A kernel says
no, or does not go on; nobody meets an exception from within."""

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.cli import session
from blkmodel.errors import NotModelled
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.memory.mm import cache_pages, put_page
from blkmodel.sim import HungTask
from blkmodel.userland.look import lsblk
from tests.test_benchmarks import _reads


def refused(fn, *args, **kwargs):
    with pytest.raises(KernelError) as why:
        fn(*args, **kwargs)
    return why.value.name


@pytest.fixture
def kernel():
    kernel = boot(4)
    scenario.nvme_probe()
    return kernel


def at_once(*steps):
    return scenario.together([{"step": step} for step in steps])


@pytest.mark.parametrize(("node", "at_a_place"), [("nvme0", "EINVAL"), ("mapper/control", "ESPIPE")])
def test_a_character_device_is_no_disk(kernel, node, at_a_place):
    scenario.dm_load()
    before = kernel.memory.totals()
    for op in ("read", "write"):
        assert refused(scenario.io, node, op, 0, 512) == "EINVAL"  # O_DIRECT
        assert refused(scenario.buffered, node, op, 0, 512) == at_a_place
        assert [str(why) for why in scenario.aio(node, [{"op": op, "offset": 0, "length": 512}])] == [
            f"[Errno 22] {op} 512 bytes of {node} at 0: EINVAL"]
    assert refused(scenario.flush, node) == "EINVAL"
    assert {refused(fn, node, 0, 512) for fn in (scenario.discard, scenario.zero_out)} == {"ENOTTY"}
    assert refused(scenario.rescan_partitions, node) == "ENOTTY"
    assert kernel.memory.totals() == before


def test_files_that_are_only_read_or_only_written(kernel):
    assert refused(scenario.set_nvme_file, "nvme0", "numa_node", 1) == "EACCES"
    assert refused(scenario.nvme_file, "nvme0", "reset_controller") == "EACCES"
    assert refused(scenario.set_queue_file, "nvme0n1", "max_hw_sectors_kb", 4) == "EACCES"
    assert refused(scenario.set_disk_file, "nvme0n1", "size", 4) == "EACCES"
    scenario.set_scheduler("nvme0n1", "kyber")
    scenario.set_queue_file("nvme0n1", "iosched/read_lat_nsec", 5)
    assert scenario.queue_file("nvme0n1", "iosched/read_lat_nsec") == "5"


def test_names_in_configfs_that_are_paths(kernel):
    scenario.null_blk_load(nr_devices=0)
    assert refused(scenario.null_blk_configure, "x/y") == "ENOENT"
    scenario.null_blk_configure("x")
    assert refused(scenario.null_blk_configure, "x/y") == "EPERM"
    assert {refused(scenario.null_blk_configure, name) for name in ("", ".", "..")} == {"EEXIST"}
    assert {refused(scenario.cat, f"/sys/kernel/config/{name}") for name in ("", "nullb", "nullb/", "nullb/x")} == {
        "EISDIR"}
    assert {refused(scenario.cat, f"/sys/kernel/config/{name}") for name in ("x", "nullb/y", "nullb/x/y")} == {"ENOENT"}


def test_a_module_in_use_stays(kernel):
    scenario.null_blk_load(nr_devices=1)
    for disk in ("nullb0", "nvme0n1"):
        scenario.dmsetup_run("create", disk, "--table", f"0 8 linear /dev/{disk} 0")
    unload = {"nullb0": scenario.null_blk_unload, "nvme0n1": scenario.nvme_unload}
    assert [refused(fn) for fn in (*unload.values(), scenario.dm_unload)] == ["EBUSY"] * 3
    assert scenario.io("dm-0", "read", 0, 512) == bytes(512)
    for disk, fn in unload.items():
        scenario.dmsetup_run("remove", disk)
        fn()
    scenario.null_blk_load(nr_devices=0)
    scenario.null_blk_configure("x")
    assert refused(scenario.null_blk_unload) == "EBUSY"


def test_modules_that_come_and_go_at_once(kernel):
    twice = at_once(["null_blk.load", {}], ["null_blk.load", {}], ["null_blk.unload", {}])
    assert [why and why.name for why in twice] == [None, "EEXIST", "EBUSY"]
    gone = at_once(["null_blk.unload", {}], ["null_blk.unload", {}])
    assert [why and why.name for why in gone] in ([None, "EBUSY"], [None, "ENOENT"])
    scenario.null_blk_load()


@pytest.mark.parametrize("first", ["pci.slot_power", "nvme.remove", "nvme.unbind", "nvme.pull_out"])
@pytest.mark.parametrize("second", ["pci.slot_power", "nvme.remove", "nvme.unbind", "nvme.pull_out"])
def test_a_controller_that_two_take_away(kernel, first, second):
    at_once([first, {"device": "nvme0"}], [second, {"device": "nvme0"}])
    assert "nvme0n1" not in scenario.devices().nodes
    scenario.nvme_probe()
    assert scenario.io("nvme0n1", "read", 0, 512) == bytes(512)


def test_a_step_that_makes_no_sense_lets_the_others_end(kernel):
    with pytest.raises(KeyError, match="there is no disk 'sda'"):
        scenario.together([{"step": ["io", {"disk": "sda", "op": "read", "offset": 0, "length": 512}]},
                           {"ms": 5, "step": ["io", {"disk": "nvme0n1", "op": "write", "offset": 0, "length": 512,
                                                     "data": b"x" * 512}]}])
    assert scenario.io("nvme0n1", "read", 0, 512) == b"x" * 512
    assert not kernel.loop.sleepers()


def test_who_waits_very_long_is_waited_for(kernel):
    """A command whose interrupt is lost ends by its time-out, also where that is of a month."""
    scenario.nvme_remove()
    scenario.nvme_probe(io_timeout=2592000)
    scenario.nvme_mask_interrupt("nvme0", 1)
    assert at_once(["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 512, "cpu": 0}]) == [bytes(512)]


TABLES = {"itself": "0 8 linear /dev/dm-0 0", "another": "0 8 linear /dev/dm-1 0", "later": "0 8 delay /dev/dm-0 0 5",
          "a path": "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/dm-0 1"}


@pytest.mark.parametrize("table", TABLES)
def test_mapped_devices_in_a_circle(kernel, table):
    """5.4 lets them be, and their I/O comes to no end."""
    paths = "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/nvme0n1 1"
    scenario.dmsetup_run("create", "a", "--table", paths if table == "a path" else "0 8 linear /dev/nvme0n1 0")
    scenario.dmsetup_run("create", "b", "--table", "0 8 linear /dev/dm-0 0")
    for words in (["load", "a", "--table", TABLES[table]], ["resume", "a"]):
        assert scenario.dmsetup_run(*words).exit == 0
    assert lsblk().count("dm-") <= 2
    with pytest.raises(HungTask, match={"later": "sleeps for ever", "a path": "until its stack is full"}.get(
            table, "never sleeps, and comes to no end in .*generic_make_request")):
        scenario.io("dm-0", "read", 0, 512)
    assert any("soft lockup - CPU#0 stuck" in line for line in kernel.log) == (table in ("itself", "another"))


def test_a_stack_that_is_full_beside_others(kernel):
    """What a process does beside others ends as what it does alone."""
    def deeper(step):
        deeper(step)
    read = ["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 512}]
    with pytest.raises(HungTask, match="task io on CPU 0 calls itself until its stack is full"):
        scenario.together([{"step": read}, {"ms": 1, "step": read}], deeper)
    assert "BUG: stack guard page was hit [io]" in kernel.log


def test_who_calls_into_the_kernel_again_and_again_is_not_stuck(monkeypatch):
    monkeypatch.setattr("blkmodel.sim.events.SOFT_LOCKUP_CALLS", 40)
    kernel = boot(4)
    scenario.null_blk_load(submit_queues=4)
    kernel.task("dio", _reads, "nullb0", 100)


def test_a_disk_with_fewer_queues_than_the_tags_it_shares(kernel):
    scenario.null_blk_load(nr_devices=0, shared_tags=1, submit_queues=4)
    with pytest.raises(KernelBug, match="behind the end of its device's"):
        scenario.null_blk_create("x", submit_queues=1)


@pytest.mark.parametrize("runs", [[2] * 600, [3, 1, 2] * 200, [256] * 3])
def test_runs_of_pages_do_not_touch(runs):
    boot(1)
    pages = cache_pages(runs)
    places = [page._addr for page in reversed(pages)]
    assert len(places) == sum(runs)
    before = 0
    for count in runs:
        run, places = places[:count], places[count:]
        assert run == [run[0] + 4096 * n for n in range(count)]
        assert run[0] != before
        before = run[-1] + 4096
    for page in pages:
        put_page(page)


@pytest.mark.parametrize(("line", "why"), [
    ("zero_out disk=nvme0n1 offset=0 length=9223372036854775807", "steps that move at most"),
    ("discard disk=nvme0n1 offset=0 length=9223372036854775807", "steps that move at most")])
def test_what_has_no_end_is_refused(line, why):
    with pytest.raises(session.SessionError, match=why):
        session.hold_steps([line], 4)


@pytest.mark.parametrize(("asked", "why"), [
    ({"offset": -512}, "offset=-512: bytes are counted from 0"), ({"offset": 1 << 64}, "bytes are counted from 0 to"),
    ({"length": 1 << 64}, "bytes are counted from 0 to"),
    ({"length": -512}, "length=-512: bytes"), ({"page_runs": []}, "512 bytes need 1 pages"),
    ({"page_runs": [2, -1]}, "in runs of one at least"), ({"page_runs": [0, 1]}, "in runs of one at least")])
@pytest.mark.parametrize("op", ["read", "write"])
def test_places_and_lengths_that_there_are_not(kernel, op, asked, why):
    words = {"op": op, "offset": 0, "length": 512, **asked}
    for fn in (scenario.io, scenario.buffered)[:1 if "page_runs" in words else 2]:
        with pytest.raises(ValueError, match=why):
            fn("nvme0n1", **words)
    with pytest.raises(ValueError, match=why):
        scenario.aio("nvme0n1", [words])
    if "page_runs" not in words:
        for ranged in (scenario.discard, scenario.zero_out):
            with pytest.raises(ValueError, match=why):
                ranged("nvme0n1", words["offset"], words["length"])
    assert scenario.io("nvme0n1", "read", 0, 512) == bytes(512)


def test_a_place_in_a_file_has_63_bits_and_one_of_an_ioctl_64(kernel):
    with pytest.raises(ValueError, match=f"from 0 to {(1 << 63) - 1}"):
        scenario.io("nvme0n1", "read", 1 << 63, 512)
    assert refused(scenario.discard, "nvme0n1", 1 << 63, 512) == "EINVAL"


@pytest.mark.parametrize(("word", "value"), [("sectors", -1), ("sectors", 1 << 64), ("vectors", 1 << 20), ("mdts", 99),
                                             ("max_ioqpairs", 0), ("sgl", 2)])
def test_a_controller_that_cannot_be(kernel, word, value):
    with pytest.raises(ValueError, match=f"{word}={value}: it is at least . and at most".replace(". ", ".+, ")):
        scenario.nvme_probe(**{word: value})


@pytest.mark.parametrize("status", ["x", "", True, -1, 0x800])
def test_a_status_that_there_is_not(kernel, status):
    with pytest.raises(ValueError, match=f"status={status}: it is a number from 0x0 to 0x7ff"):
        scenario.nvme_fault_inject("nvme0n1", status)


@pytest.mark.parametrize("do", [scenario.dmsetup_run, lambda *words: at_once(["dmsetup", *words])])
def test_nobody_waits_for_who_came_to_what_is_not_modelled(kernel, do):
    scenario.dmsetup_run("create", "a", "--notable")
    with pytest.raises(NotModelled, match="hardware handler alua"):
        do("load", "a", "--table", "0 8 multipath 0 1 alua 1 1 round-robin 0 1 1 /dev/nvme0n1 1")
    assert scenario.dmsetup_run("load", "a", "--table", "0 8 zero").exit == 0


def test_a_load_that_is_not_modelled_is_over(kernel):
    for _ in range(2):
        with pytest.raises(NotModelled):
            scenario.null_blk_load(queue_mode=0)
    scenario.null_blk_load()
