"""What sysfs shows of a mapped device."""

import pytest

from blkmodel.drivers.md import dm, dm_sysfs
from blkmodel.include.linux.dm_ioctl import DM_DEV_CREATE_CMD
from blkmodel.services.base.err import EINVAL, EIO
from blkmodel.services.devices.kobject import kobject_get, kobject_put
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from tests.drivers.md import control
from tests.drivers.md.machine import MS, Machine


def show(md, name):
    kobj = dm.dm_kobject(md)
    return dm_sysfs.dm_attr_show(kobj, kobj.attrs[name])


def test_files():
    on = Machine(disks=1)
    control.ioctl(DM_DEV_CREATE_CMD, name="x", uuid="U-1")
    control.create("y", "0 8 zero")
    x, y = on.md(), on.md("dm-1")
    assert [show(x, name) for name in dm.dm_kobject(x).attrs] == ["x\n", "U-1\n", "0\n", "1\n", "0\n"]
    assert (show(y, "name"), show(y, "uuid")) == ("y\n", "\n")
    assert (dm.dm_kobject(x).name, dm.dm_kobject(x).parent.name) == ("dm", "dm-0")
    control.suspend("y")
    assert (show(y, "suspended"), y.holders) == ("1\n", 1)
    writable = [name for name, attr in dm.dm_kobject(x).attrs.items() if attr.mode & 0o200]
    assert writable == ["rq_based_seq_io_merge_deadline"]
    assert (show(x, writable[0]), x.holders) == ("0\n", 1)


@pytest.mark.parametrize("bit", [dm.DMF_FREEING, dm.DMF_DELETING])
def test_a_device_that_is_going(bit):
    on = Machine(disks=1)
    control.create("x")
    md, kobj = on.md(), dm.dm_kobject(on.md())
    assert dm.dm_get_from_kobject(kobj) is md
    dm.dm_put(md)
    md.flags |= 1 << bit
    assert show(md, "name") == -EINVAL
    md.flags = 0
    cell = md.interface_ptr
    dm.dm_set_mdptr(md, None)
    assert show(md, "name") == show(md, "uuid") == -EIO
    dm.dm_set_mdptr(md, cell)


def test_a_device_waits_until_nobody_reads_its_files():
    on = Machine(disks=1)
    control.create("x")
    kobj = dm.dm_kobject(on.md())
    kobject_get(kobj)
    started = this().loop.now
    this().loop.post(Context("task", "cat", 0), lambda: kobject_put(kobj), 20 * MS)
    assert control.remove("x") == 0
    assert this().loop.now - started >= 20 * MS
