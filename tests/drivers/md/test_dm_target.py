"""Which types of target there are; and error, which is always there."""

import pytest

from blkmodel.drivers.md import dm_target
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_NOTSUPP
from blkmodel.include.linux.device_mapper import DM_MAPIO_KILL, target_type
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EEXIST, EINVAL
from tests.drivers.md import control
from tests.drivers.md.ios import IO
from tests.drivers.md.machine import SECTOR, Machine, noting


def test_types_by_name():
    on = Machine(disks=0)
    first, second = target_type(name="first"), target_type(name="second")
    for each in (first, second):
        assert dm_target.dm_register_target(each) == 0
    assert dm_target.dm_register_target(target_type(name="first")) == -EEXIST
    assert dm_target.dm_get_target_type("first") is first
    assert dm_target.dm_get_target_type("third") is None
    seen: list[str] = []
    assert dm_target.dm_target_iterate(lambda tt, found: found.append(tt.name), seen) == 0
    assert seen[:2] == ["second", "first"]
    assert {"error", "linear", "striped"} < set(seen)
    dm_target.dm_unregister_target(first)
    assert dm_target.dm_get_target_type("first") is None
    assert dm_target.dm_get_target_type("second") is second
    with pytest.raises(KernelBug):
        dm_target.dm_unregister_target(first)
    assert "device-mapper: target: Unregistering unrecognised target: first" in on.kernel.log


@pytest.mark.parametrize(("op", "status"), [
    (ops.REQ_OP_READ, BLK_STS_IOERR), (ops.REQ_OP_WRITE, BLK_STS_IOERR), (ops.REQ_OP_DISCARD, BLK_STS_NOTSUPP)])
def test_error_fails_all(op, status):
    on = Machine(disks=0)
    control.create("x", "0 64 error with any words")
    io = IO("dm-0", op, 0, **({"sectors": 8} if op == ops.REQ_OP_DISCARD else {"data": b"z" * SECTOR}))
    assert (io.ends, io.status) == (1, status)
    assert control.table("x") == "0 64 error "
    assert on.md().map.targets[0].num_discard_bios == 1
    assert dm_target.io_err_clone_and_map_rq(None, None, None) == (DM_MAPIO_KILL, None)


def test_error_ends_and_begins_with_device_mapper():
    Machine(disks=0)
    dm_target.dm_target_exit()
    control.create("x")
    assert control.load("x", "0 8 error") == -EINVAL
    assert dm_target.dm_target_init() == 0
    assert control.load("x", "0 8 error") == 0
    assert dm_target.dm_target_init() == -EEXIST


def test_a_types_module_is_asked_for_and_held_as_long_as_it_is_used(monkeypatch):
    Machine(disks=0)
    asked: list[tuple] = []
    for what in ("request_module", "try_module_get", "module_put"):
        monkeypatch.setattr(dm_target, what, noting(asked, True))
    assert dm_target.dm_get_target_type("third") is None
    tt = target_type(name="first", module="dm-first")  # type: ignore[arg-type]
    assert dm_target.dm_register_target(tt) == 0
    dm_target.dm_put_target_type(dm_target.dm_get_target_type("first"))
    assert asked == [("dm-third",), ("dm-first",), ("dm-first",)]
