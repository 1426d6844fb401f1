"""What a controller says of itself, and what the driver makes of it: limits, timeouts, power, memory, its subsystem."""


import re

import pytest

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host import core
from blkmodel.drivers.nvme.host.nvme_h import (NVME_CTRL_CONNECTING, NVME_CTRL_DEAD, NVME_CTRL_DELETING, NVME_CTRL_LIVE,
    NVME_CTRL_NEW, NVME_CTRL_RESETTING, NVME_QUIRK_NO_APST, NVME_QUIRK_SIMPLE_SUSPEND, nvme_ctrl)
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blkdev import blk_queue_nonrot
from blkmodel.services.base.err import EBUSY
from blkmodel.services.tasks.timer import HZ
from blkmodel.sim import this, wire
from tests.drivers.nvme.host.up import commands, device_of, log, probe, says, up, watched

SECOND = 1_000_000_000
SAMSUNG = 0x144D


# States.


STATES = NVME_CTRL_NEW, NVME_CTRL_LIVE, NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING, NVME_CTRL_DELETING, NVME_CTRL_DEAD
ALLOWED = {
    (NVME_CTRL_NEW, NVME_CTRL_LIVE), (NVME_CTRL_NEW, NVME_CTRL_RESETTING), (NVME_CTRL_NEW, NVME_CTRL_CONNECTING),
    (NVME_CTRL_LIVE, NVME_CTRL_RESETTING), (NVME_CTRL_LIVE, NVME_CTRL_DELETING),
    (NVME_CTRL_RESETTING, NVME_CTRL_LIVE), (NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING),
    (NVME_CTRL_RESETTING, NVME_CTRL_DELETING), (NVME_CTRL_CONNECTING, NVME_CTRL_LIVE),
    (NVME_CTRL_CONNECTING, NVME_CTRL_DELETING), (NVME_CTRL_DELETING, NVME_CTRL_DEAD)}


@pytest.mark.parametrize("old", STATES)
@pytest.mark.parametrize("new", STATES)
def test_states(old, new):
    blkmodel.boot(1)
    ctrl = nvme_ctrl(state=old)
    assert core.nvme_change_ctrl_state(ctrl, new) == ((old, new) in ALLOWED)
    assert ctrl.state == (new if (old, new) in ALLOWED else old)


# Limits.


@pytest.mark.parametrize(("mdts", "kib"), [(0, 4096), (1, 8), (5, 128), (7, 512), (10, 4096), (11, 4096)])
def test_how_much_a_command_may_move(mdts, kib):
    """As the controller says; the driver takes 4 MiB at most, in 127 pieces."""
    dev = up(mdts=mdts)
    queue = scenario.disk("nvme0n1").queue
    assert queue.limits.max_hw_sectors == dev.ctrl.admin_q.limits.max_hw_sectors == kib * 2
    assert queue.limits.max_segments == min(kib // 4 + 1, 127)
    assert queue.limits.virt_boundary_mask == 4095
    assert blk_queue_nonrot(queue)


@pytest.mark.parametrize("write_cache", [True, False])
def test_the_write_cache(write_cache):
    up(write_cache=write_cache)
    assert scenario.queue_file("nvme0n1", "write_cache") == ("write back" if write_cache else "write through")


def test_how_long_it_may_take_to_be_ready():
    """Half a second more than it says, in steps of 100 ms."""
    assert up(timeout=4, ready_time=2 * SECOND).ctrl.state == NVME_CTRL_LIVE
    assert this().now // SECOND == 2
    blkmodel.boot(4)
    with pytest.raises(KernelError, match="Device not ready; aborting initialisation"):
        probe(timeout=4, ready_time=4 * SECOND)
    assert 2.5 <= this().now / SECOND < 2.7


def test_pages_that_are_too_large():
    blkmodel.boot(4)
    with pytest.raises(KernelError, match="Minimum device page size 8192 too large for host"):
        probe(page_min=1)


def test_the_effects_of_commands_are_asked_for(monkeypatch):
    dev = up()
    assert dev.ctrl.effects.iocs[nvme.nvme_cmd_write] == nvme.NVME_CMD_EFFECTS_CSUPP | nvme.NVME_CMD_EFFECTS_LBCC
    says(monkeypatch, lpa=0)
    assert up().ctrl.effects is None


def test_the_time_is_told(monkeypatch):
    for milliseconds in (1234, 0):
        blkmodel.boot(4).loop.advance(1_234_000_000)
        assert device_of(probe()).features.timestamp == milliseconds
        says(monkeypatch, oncs=lambda oncs: oncs & ~nvme.NVME_CTRL_ONCS_TIMESTAMP)


# What is odd about some.


def test_quirks_of_a_model(monkeypatch):
    says(monkeypatch, vid=0x1179, mn=b"THNSF5256GPUK TOSHIBA".ljust(40))
    assert up().ctrl.quirks & NVME_QUIRK_NO_APST
    says(monkeypatch, vid=0x14A4, fr=b"22301111")
    assert up().ctrl.quirks & NVME_QUIRK_SIMPLE_SUSPEND
    says(monkeypatch, fr=b"22301112")
    assert not up().ctrl.quirks


@pytest.mark.parametrize(("text", "matches"), [(b"abc", True), (b"ab", False), (b"abcd", False), (None, True)])
def test_texts_are_padded_with_blanks(text, matches):
    assert core.string_matches(b"abc   ", text, 6) == matches


# Its subsystem.


def test_controllers_of_one_subsystem(monkeypatch):
    """If it may have several, and each has a number of its own."""
    numbers = iter([1, 1, 2, 2, 2])  # each is asked twice, but the one that is rejected
    says(monkeypatch, cmic=2, cntlid=lambda _: next(numbers))
    blkmodel.boot(2)
    first = probe(serial="same")
    second = probe(serial="same", namespaces={2: Namespace(64)})
    assert first.ctrl.subsys is second.ctrl.subsys
    assert [ctrl.cntlid for ctrl in first.ctrl.subsys.ctrls] == [1, 2]
    assert scenario.nvme_file("nvme1", "subsysnqn") == "nqn.2019-08.org.qemu:same"
    with pytest.raises(KernelError, match="Duplicate cntlid 2 with nvme1, rejecting") as why:
        probe(serial="same")
    assert why.value.name == "EINVAL"


def test_a_subsystem_of_one_controller():
    blkmodel.boot(2)
    probe(serial="same")
    with pytest.raises(KernelError, match="Duplicate cntlid 0 with nvme0, rejecting"):
        probe(serial="same")


def test_a_subsystem_that_has_no_room_for_another(monkeypatch):
    numbers = iter([1, 1, 2])
    says(monkeypatch, cntlid=lambda _: next(numbers))
    blkmodel.boot(2)
    probe(serial="same")
    with pytest.raises(KernelError, match="Subsystem does not support multiple controllers"):
        probe(serial="same")


def test_a_subsystem_outlives_the_controller_that_named_it(monkeypatch):
    """And keeps its number, which nobody else gets meanwhile."""
    numbers = iter([1, 1, 2, 2, 3, 3, 4, 4])
    says(monkeypatch, cmic=2, cntlid=lambda _: next(numbers))
    blkmodel.boot(2)
    probe(serial="same")
    probe(serial="same", namespaces={})
    scenario.nvme_remove("nvme0")
    assert scenario.nvme_probe(controller=Controller(serial="other", queue_pairs=2)) == "nvme2"
    scenario.nvme_remove("nvme1")
    scenario.nvme_remove("nvme2")
    assert list(core.variables().nvme_subsystems) == []
    assert scenario.nvme_probe(controller=Controller(queue_pairs=2)) == "nvme0"


# What sysfs shows, and takes.


def test_files_of_a_controller():
    up(queue_pairs=2)
    shown = {name: scenario.nvme_file("nvme0", name)
             for name in ("model", "serial", "firmware_rev", "cntlid", "transport", "subsysnqn", "address", "state",
                          "numa_node", "queue_count", "sqsize")}
    assert shown == {"model": "QEMU NVMe Ctrl".ljust(40), "serial": "0001".ljust(20), "firmware_rev": "7.2".ljust(8),
                     "cntlid": "0", "transport": "pcie", "subsysnqn": "nqn.2019-08.org.qemu:0001",
                     "address": "0000:00:04.0", "state": "live", "numa_node": "0", "queue_count": "3",
                     "sqsize": "1023"}
    with pytest.raises(KeyError, match="nvme0 has no file 'delete_controller'; it has address, cntlid, "):
        scenario.nvme_file("nvme0", "delete_controller")


@pytest.mark.parametrize("state", STATES)
def test_states_have_names(state):
    dev = up()
    dev.ctrl.state = state
    names = ("new", "live", "resetting", "connecting", "deleting", "dead")
    assert scenario.nvme_file("nvme0", "state") == names[state]


def test_user_space_is_told_how_it_is_connected():
    dev = up()
    assert core.nvme_class_uevent(dev.ctrl.device) == ["NVME_TRTYPE=pcie"]


# Resetting.


LOSES_A_READ = [
    "I/O N QID 2 timeout, aborting", "Abort status: 0x0", "I/O N QID 2 timeout, reset controller",
    "4/0/0 default/read/poll queues", "I/O N QID 2 timeout, disable controller",
    "blk_update_request: I/O error, dev nvme0n1, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0",
    "failed to mark controller live state", "Removing after probe failure status: -19"]
"""As a real 5.4.120 said (recording read-after-reset)."""


@pytest.mark.parametrize("reads", [0, 1, 3])
def test_a_first_read_after_a_reset_is_lost_where_the_queue_was_used_before(reads):
    """The copy of the tail is 0 again, but the controller still says that it looks as far as it did."""
    up(4, queue_pairs=4)
    for _ in range(reads):
        scenario.io("nvme0n1", "read", 0, 4096, cpu=1)
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    scenario.set_queue_file("nvme0n1", "io_timeout", 1000)
    before = len(log())
    if not reads:
        assert len(scenario.io("nvme0n1", "read", 0, 4096, cpu=1)) == 4096
        return
    with pytest.raises(KernelError, match="EIO"):
        scenario.io("nvme0n1", "read", 0, 4096, cpu=1)
    assert [re.sub(r"I/O \d+", "I/O N", line) for line in log()[before:]] == LOSES_A_READ


def test_a_reset_keeps_the_disk_and_what_is_on_it():
    """Without copies of the doorbells, which outlive it."""
    dev = up(queue_pairs=2, dbbuf=False)
    scenario.io("nvme0n1", "write", 0, 4096)
    scenario.flush("nvme0n1")
    disk = scenario.disk("nvme0n1")
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    assert scenario.disk("nvme0n1") is disk
    assert scenario.nvme_file("nvme0", "state") == "live"
    assert scenario.io("nvme0n1", "read", 0, 4096) == scenario.sector_numbers(0, 4096)
    assert log().count("2/0/0 default/read/poll queues") == 2
    assert dev.ctrl.queue_count == 3


def test_after_a_reset_there_may_be_fewer_queues():
    dev = up(4, queue_pairs=4)
    device_of(dev).usable = 2
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    assert dev.tagset.nr_hw_queues == 2
    assert dev.ctrl.queue_count == 3
    assert scenario.io("nvme0n1", "read", 0, 4096, cpu=3) == bytes(4096)
    device_of(dev).usable = 4
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    assert dev.tagset.nr_hw_queues == 4
    assert scenario.io("nvme0n1", "read", 0, 4096, cpu=3) == bytes(4096)


def test_one_reset_at_a_time():
    dev = up()
    dev.ctrl.state = NVME_CTRL_DELETING
    assert core.nvme_reset_ctrl(dev.ctrl) == -EBUSY
    with pytest.raises(KernelError, match="EBUSY"):
        scenario.set_nvme_file("nvme0", "reset_controller", 1)


def test_how_many_queues_were_asked_for():
    blkmodel.boot(3)
    with watched("command") as seen:
        probe(queue_pairs=8)
    asked = [wire.view(nvme.nvme_features, each) for each in commands(seen, 0)
             if each.opcode == nvme.nvme_admin_set_features]
    assert [each.dword11 for each in asked if each.fid == nvme.NVME_FEAT_NUM_QUEUES] == [2 | 2 << 16]


def test_a_timeout_of_its_own():
    dev = up(params={"admin_timeout": 3})
    assert dev.admin_tagset.timeout == 3 * HZ
