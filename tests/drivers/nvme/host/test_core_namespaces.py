"""A controller's namespaces come and go, and their disks with them; and what else it tells of, or is told."""


import pytest

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.device import identify
from blkmodel.device.faults import FAIL, SILENT, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.nvme import unplug
from blkmodel.drivers.nvme.host import core, pci
from blkmodel.include.linux import nvme
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import disk_to_dev, get_capacity
from blkmodel.services.base.err import ENXIO, IS_ERR, PTR_ERR
from blkmodel.services.cpus.interrupt import irq_desc_tree
from blkmodel.services.devices.device import devices
from blkmodel.services.devices.hdreg import hd_geometry
from blkmodel.services.devices.pci import to_pci_dev
from blkmodel.services.files.file import O_RDONLY, O_RDWR, filp_close, filp_open
from blkmodel.services.tasks.workqueue import queue_work
from blkmodel.sim import this
from blkmodel.sim.structure import Array
from tests.drivers.nvme.host.up import commands, device_of, log, probe, says, up, watched

SECOND = 1_000_000_000
PAGE = 4096


def disks():
    return sorted(name for name in devices().nodes if name.startswith("nvme") and "n" in name[4:])


def numbers(dev):
    return [ns.head.ns_id for ns in dev.ctrl.namespaces]


# Which there are.


def test_each_is_a_disk_named_by_its_place_in_the_subsystem():
    dev = up(namespaces={9: Namespace(512), 2: Namespace(64, shift=12), 250: Namespace(1024)})
    assert disks() == ["nvme0n1", "nvme0n2", "nvme0n3"]
    assert numbers(dev) == [2, 9, 250]
    assert [get_capacity(scenario.disk(name)) for name in disks()] == [512, 512, 1024]
    assert [scenario.queue_file(name, "logical_block_size") for name in disks()] == ["4096", "512", "512"]


def test_a_controller_without_any():
    assert numbers(up(namespaces={})) == []


@pytest.mark.parametrize(("version", "one_by_one"), [(nvme.NVME_VS(1, 0, 0), True), (nvme.NVME_VS(1, 1, 0), False)])
def test_old_controllers_have_no_list(version, one_by_one):
    """Every number is tried."""
    blkmodel.boot(2)
    with watched("command") as seen:
        dev = probe(version=version, namespaces={1: Namespace(64), 3: Namespace(64)})
    assert numbers(dev) == [1, 3]
    asked = [command for command in commands(seen, 0) if command.opcode == nvme.nvme_admin_identify]
    assert len(asked) > 200 if one_by_one else len(asked) < 20


def test_long_lists(monkeypatch):
    """1024 numbers come at a time."""
    monkeypatch.setattr(identify, "NAMESPACES", 3000)
    there = (1, 2, 1024, 1025, 1030)
    blkmodel.boot(1)
    dev = probe(namespaces={number: Namespace(8) for number in there})
    assert numbers(dev) == list(there)


def test_a_list_goes_on_after_its_last_number(monkeypatch):
    dev = up(namespaces={1: Namespace(8)})
    asked = []
    validated = []

    def nvme_identify_ns_list(ctrl, nsid, ns_list):
        asked.append(nsid)
        ns_list[:] = range(nsid + 1, nsid + 1025) if len(asked) < 3 else [0] * 1024
        return 0
    monkeypatch.setattr(core, "nvme_identify_ns_list", nvme_identify_ns_list)
    monkeypatch.setattr(core, "nvme_validate_ns", lambda ctrl, nsid: validated.append(nsid))
    assert this().task("scan", core.nvme_scan_ns_list, dev.ctrl, 2048) == 0
    assert asked == [0, 1024]
    assert validated == list(range(1, 2049))


# What each is.


def test_names(monkeypatch):
    """Which a controller of an old version has not."""
    nguid, eui64, uuid = bytes(range(16)), bytes(range(8, 16)), bytes(range(16, 32))
    shown = {}
    for minor in (0, 1, 2, 3):
        up(version=nvme.NVME_VS(1, minor, 0), namespaces={1: Namespace(64, nguid=nguid, eui64=eui64, uuid=uuid)})
        dev = disk_to_dev(scenario.disk("nvme0n1"))
        shown[minor] = {name: str(attr.show(dev)).strip() for name, attr in dev.kobj.attrs.items()
                        if name in ("wwid", "nguid", "eui", "uuid", "nsid")}
    eui = {"eui": "08 09 0a 0b 0c 0d 0e 0f", "nsid": "1"}
    old = {"nguid": "00010203-0405-0607-0809-0a0b0c0d0e0f", "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f"}
    assert shown[0] == {"nsid": "1", "wwid": "nvme.1b36-30303031-51454d55204e564d65204374726c-00000001"}
    assert shown[1] == {**eui, "wwid": "eui.08090a0b0c0d0e0f"}
    assert shown[2] == {**eui, **old, "wwid": "eui.000102030405060708090a0b0c0d0e0f"}
    assert shown[3] == {**eui, **old, "uuid": "10111213-1415-1617-1819-1a1b1c1d1e1f",
                        "wwid": "uuid.10111213-1415-1617-1819-1a1b1c1d1e1f"}


def test_two_of_a_name_are_one_too_many():
    up(namespaces={1: Namespace(64, nguid=bytes(range(16))), 2: Namespace(64, nguid=bytes(range(16)))})
    assert disks() == ["nvme0n1"]
    assert "duplicate IDs for nsid 2" in log()


def test_a_name_of_the_wrong_length(monkeypatch):
    """The rest of the list is not looked at."""
    monkeypatch.setitem(identify._IDENTIFY, 3, lambda controller, command: bytes([2, 4, 0, 0, 1, 2, 3, 4]) + bytes(
        [1, 8, 0, 0, *range(8)]))
    dev = up()
    assert "ctrl returned bogus length: 4 for NVME_NIDT_NGUID" in log()
    assert next(iter(dev.ctrl.namespaces)).head.ids.eui64 == bytes(8)


def test_names_are_read_from_a_list(monkeypatch):
    monkeypatch.setitem(identify._IDENTIFY, 3, lambda controller, command: bytes(
        [9, 2, 0, 0, 7, 7, 1, 8, 0, 0, *range(8), 3, 16, 0, 0, *range(16)]))
    ids = next(iter(up().ctrl.namespaces)).head.ids
    assert (ids.eui64, ids.uuid, ids.nguid) == (bytes(range(8)), bytes(range(16)), bytes(16))


@pytest.mark.parametrize(("fields", "limits"), [
    ({"nsfeat": 0}, {"physical_block_size": 512, "io_min": 512, "io_opt": 512}),
    ({"nsfeat": 1 << 4, "npwg": 7, "nows": 15}, {"physical_block_size": 512, "io_min": 4096, "io_opt": 8192})])
def test_sizes_that_suit_it(monkeypatch, fields, limits):
    """What is written at once whole; and pieces beyond which a read or write had better be split."""
    says(monkeypatch, namespace=0, **fields)
    up()
    queue = scenario.disk("nvme0n1").queue
    assert {name: getattr(queue.limits, name) for name in limits} == limits


def test_a_disk_that_is_read_only(monkeypatch):
    says(monkeypatch, namespace=0, nsattr=1)
    up()
    with pytest.raises(KernelError, match="EPERM"):
        scenario.io("nvme0n1", "write", 0, PAGE)


@pytest.mark.parametrize(("metadata", "capacity"), [(0, 512), (8, 0)])
def test_metadata(monkeypatch, metadata, capacity):
    """It can't be used: the disk has no size."""
    def formats(known):
        known[0].ms = metadata
        return known
    says(monkeypatch, namespace=0, lbaf=formats, flbas=1 << 4)
    dev = up(namespaces={1: Namespace(512)})
    ns = next(iter(dev.ctrl.namespaces))
    assert get_capacity(ns.disk) == capacity
    assert ns.ms == metadata


def test_blocks_that_are_too_large():
    up(namespaces={1: Namespace(512, shift=13)})
    assert get_capacity(scenario.disk("nvme0n1")) == 0
    assert scenario.queue_file("nvme0n1", "logical_block_size") == "512"


@pytest.mark.parametrize("can", [nvme.NVME_CTRL_ONCS_DSM, nvme.NVME_CTRL_ONCS_WRITE_ZEROES, 0])
def test_discard_and_zeroing_where_the_controller_can(monkeypatch, can):
    says(monkeypatch, oncs=can)
    up()
    limits = scenario.disk("nvme0n1").queue.limits
    assert bool(limits.max_discard_sectors) == bool(can & nvme.NVME_CTRL_ONCS_DSM)
    assert (limits.max_discard_segments == 256) == bool(can & nvme.NVME_CTRL_ONCS_DSM)
    assert limits.max_write_zeroes_sectors == (1024 if can & nvme.NVME_CTRL_ONCS_WRITE_ZEROES else 0)


def test_what_a_disk_from_long_ago_would_look_like():
    up()
    geo = hd_geometry()
    assert core.nvme_getgeo(block_device(bd_disk=scenario.disk("nvme0n1")), geo) == 0
    assert (geo.heads, geo.sectors, geo.cylinders) == (64, 32, 64)


# They come and go.


def rescan():
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)


def test_one_comes_and_one_goes():
    dev = up(namespaces={1: Namespace(64), 2: Namespace(64)})
    namespaces = device_of(dev).namespaces
    namespaces[7] = Namespace(128)
    rescan()
    assert disks() == ["nvme0n1", "nvme0n2", "nvme0n3"]
    del namespaces[1]
    rescan()
    assert numbers(dev) == [2, 7]
    assert disks() == ["nvme0n2", "nvme0n3"]
    namespaces[3] = Namespace(8)
    rescan()
    assert numbers(dev) == [2, 3, 7]
    assert disks() == ["nvme0n1", "nvme0n2", "nvme0n3"]


def test_the_last_goes():
    dev = up()
    del device_of(dev).namespaces[1]
    rescan()
    assert disks() == []
    assert not dev.ctrl.subsys.nsheads.entries


def test_one_that_is_open_stays_until_it_is_closed():
    kernel = blkmodel.boot(2)
    dev = probe()
    ns = next(iter(dev.ctrl.namespaces))
    filp = kernel.task("open", filp_open, "nvme0n1", O_RDWR)
    del device_of(dev).namespaces[1]
    rescan()
    assert disks() == []
    assert ns.kref.refcount == 1
    kernel.task("close", filp_close, filp)
    assert ns.kref.refcount == 0


def test_one_that_goes_cannot_be_opened():
    dev = up()
    ns = next(iter(dev.ctrl.namespaces))
    ns.kref.refcount = 0
    found = this().task("open", filp_open, "nvme0n1", O_RDONLY)
    assert IS_ERR(found)
    assert PTR_ERR(found) == -ENXIO
    ns.kref.refcount = 1


def test_one_is_as_large_as_it_says():
    dev = up(namespaces={1: Namespace(64)})
    device_of(dev).namespaces[1].blocks = 128
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)
    assert get_capacity(scenario.disk("nvme0n1")) == 128
    assert "nvme0n1: detected capacity change from 32768 to 65536" in log()


def test_one_that_is_another_now_is_removed():
    dev = up(namespaces={1: Namespace(64, nguid=bytes(range(16)))})
    device_of(dev).namespaces[1] = Namespace(64, nguid=bytes(range(1, 17)))
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)
    assert "identifiers changed for nsid 1" in log()
    assert disks() == []
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)
    assert disks() == ["nvme0n1"]


@pytest.mark.parametrize(("status", "stays"), [(nvme.NVME_SC_INTERNAL, True),
                                               (nvme.NVME_SC_INVALID_NS | nvme.NVME_SC_DNR, False)])
def test_one_that_cannot_be_looked_at(status, stays):
    """It goes only if the controller says that another try won't help."""
    dev = up()
    device_of(dev).faults.append(Fault(FAIL, opcode=nvme.nvme_admin_identify, nth=3, status=status))
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)
    assert (disks() == ["nvme0n1"]) == stays


# Going down.


def test_it_is_pulled_out():
    """Nothing is waited for, nor written back."""
    kernel = blkmodel.boot(2)
    scenario.nvme_load()
    before = kernel.memory.totals()
    dev = probe()
    device_of(dev).unplug()
    scenario.nvme_remove()
    assert kernel.now < SECOND
    assert kernel.memory.totals() == before
    assert disks() == []


def test_it_is_pulled_out_while_it_is_read(monkeypatch):
    kernel = blkmodel.boot(2)
    scenario.nvme_load()
    before = kernel.memory.totals()
    dev = probe()
    device = device_of(dev)
    device.faults.append(Fault(SILENT, queue=1))
    pdev = to_pci_dev(dev.dev)

    def pull():
        device.unplug()
        unplug(pdev)
    kernel.loop.post(kernel.context, pull, 3 * SECOND)
    with pytest.raises(KernelError, match="EIO"):
        scenario.io("nvme0n1", "read", 0, PAGE)
    assert 3 <= kernel.now / SECOND < 4
    kernel.loop.run_due()
    assert kernel.memory.totals() == before


# What a controller's logs and lists are for, and where it does not give them.


def test_lists_and_logs_that_the_controller_refuses():
    """Whoever asked is told; what was to hold the answer is freed."""
    dev = up()
    task, faults, ctrl = this().task, device_of(dev).faults, dev.ctrl
    busy = nvme.NVME_SC_INTERNAL
    faults.append(Fault(FAIL, opcode=nvme.nvme_admin_identify, nth=0, status=busy))
    assert task("scan", core.nvme_identify_ns_list, ctrl, 0, Array("u32", [0] * 1024)) == busy
    faults[:] = [Fault(FAIL, opcode=nvme.nvme_admin_get_log_page, nth=0, status=busy)]
    before = this().memory.totals()
    assert task("kworker", core.nvme_get_effects_log, ctrl) == busy
    assert ctrl.effects is None
    faults.clear()
    assert ("nvme_effects_log", 0) in before
    assert ("nvme_effects_log", 0) not in this().memory.totals()


def test_a_rescan_takes_all_that_was_written():
    dev = up()
    device_of(dev).namespaces[2] = Namespace(64)
    assert this().task("sh", core.nvme_sysfs_rescan, dev.ctrl.device, "1\n", 2) == 2
    assert disks() == ["nvme0n1", "nvme0n2"]


# Who holds what.


def test_an_open_disk_holds_its_driver(monkeypatch):
    held = []

    def try_module_get(module):
        held.append(module)
        return True
    monkeypatch.setattr(core, "try_module_get", try_module_get)
    monkeypatch.setattr(core, "module_put", held.remove)
    dev = up()
    ns = next(iter(dev.ctrl.namespaces))
    assert (held, ns.kref.refcount) == ([], 1)
    filp = this().task("open", filp_open, "nvme0n1", O_RDONLY)
    assert (held, ns.kref.refcount) == ([dev.ctrl.ops.module], 2)
    this().task("close", filp_close, filp)
    assert (held, ns.kref.refcount) == ([], 1)
    monkeypatch.setattr(core, "try_module_get", lambda module: False)
    assert PTR_ERR(this().task("open", filp_open, "nvme0n1", O_RDONLY)) == -ENXIO
    assert ns.kref.refcount == 1


# Starting and stopping.


def test_a_controller_has_been_created_once_it_was_live():
    kernel = blkmodel.boot(2)
    created = []

    def look(kind, **told):
        if kind == "command" and told["command"].opcode == nvme.nvme_admin_identify:
            created.append(scenario.nvme_controller().ctrl.created)
    kernel.observer = look
    dev = probe()
    del kernel.observer
    assert created[0] is False
    assert created[-1] is dev.ctrl.created is True


def test_stopping_waits_for_the_workers():
    """An event's worker is waited for."""
    dev = up()
    ctrl = dev.ctrl
    workqueue = core.variables().nvme_wq

    def stop():
        queue_work(workqueue, ctrl.async_event_work)
        core.nvme_stop_ctrl(ctrl)
        return ctrl.async_event_work._event is not None
    with watched("command") as seen:
        assert this().task("sh", stop) is False
    assert nvme.nvme_admin_async_event in [command.opcode for command in commands(seen, 0)]


def test_unloading_the_driver_gives_its_controllers_up():
    up(queue_pairs=2)
    pdev = to_pci_dev(scenario.nvme_controller().dev)
    assert pdev.dev.driver is not None
    assert pdev._owner == "nvme"
    this().task("rmmod", pci.nvme_exit)
    assert (pdev.dev.driver, pdev._owner) == (None, None)  # nor are the device's windows anybody's
    assert disks() == []
    assert irq_desc_tree().descs == {}
    assert not [kind for kind, _ in this().memory.totals() if kind.startswith(("nvme_dev", "nvme_queue", "nvme_ns"))]
