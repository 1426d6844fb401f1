"""Character devices: a node that is opened for its driver, not for a disk; and those of drivers that need only one
number (fs/char_dev.c, drivers/char/misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blkmodel.services.base import EBUSY, ENODEV, ENOMEM, ENXIO, MAJOR, MINOR, MKDEV, module
from blkmodel.services.devices.device import (class_, dev_get_drvdata, device, device_add, device_create, device_del,
    device_unregister)
from blkmodel.services.devices.kobj_map import kobj_lookup, kobj_map, kobj_map_domain, kobj_unmap
from blkmodel.services.files.inode import inode
from blkmodel.sim import NULL, Struct, statics
from blkmodel.sim.kernel import at_boot

if TYPE_CHECKING:
    from blkmodel.services.files.file import file, file_operations

MISC_MAJOR, MAPPER_CTRL_MINOR, CHRDEV_MAJOR_DYN_END = 10, 236, 234


misc_class = class_(name="misc", devnode=lambda dev: dev_get_drvdata(dev).nodename)


class miscdevice(Struct, size=80):
    """Such a device: its number, its name, that of its node, and what can be done with the node when it is open."""

    minor: int = 0
    name: str = ""
    nodename: str = ""
    fops: file_operations = NULL


class misc_list(statics, dict[int, tuple[miscdevice, device]]):
    """The devices that are registered, by minor number: (miscdevice, its device)."""


def misc_register(misc: miscdevice) -> int:
    """Make a device known, with its node. Returns 0, -EBUSY for a number that is taken, or -ENOMEM."""
    held = misc_list()
    if misc.minor in held:
        return -EBUSY
    if (dev := device_create(misc_class, NULL, MKDEV(MISC_MAJOR, misc.minor), misc, misc.name)) is None:
        return -ENOMEM
    held[misc.minor] = misc, dev
    return 0


def misc_deregister(misc: miscdevice) -> None:
    """Take a device away again, with its node."""
    device_unregister(misc_list().pop(misc.minor)[1])


def misc_open(inode: inode, filp: file) -> int:
    """Somebody opens such a node: from now on the file is the driver's. Returns 0 or -errno."""
    misc, _ = misc_list().get(MINOR(inode.i_rdev), (None, None))
    if misc is None:
        return -ENODEV
    filp.f_op = misc.fops
    return misc.fops.open(inode, filp) if misc.fops.open is not None else 0


class cdev(Struct, size=104):
    """A character device: who serves it (ops), and its numbers, `count` from `dev` on. _owner is the structure that
    embeds it."""

    owner: module = NULL
    ops: file_operations = NULL
    dev: int = 0
    count: int = 0
    _owner: Any = None


class _variables(statics):
    """Who stands for which number, and the names of the majors that are taken. (The map is made at boot; it is not
    accounted.)"""

    def __init__(self) -> None:
        self.cdev_map = kobj_map_domain()
        self.majors: dict[int, str] = {}


at_boot(0, _variables)


def alloc_chrdev_region(baseminor: int, count: int, name: str) -> tuple[int, int]:
    """Take a free major number, the highest of those that are given out. Returns (0, the first number of it), or
    (-EBUSY, 0)."""
    majors = _variables().majors
    for major in range(254, CHRDEV_MAJOR_DYN_END - 1, -1):
        if major not in majors:
            majors[major] = name
            return 0, MKDEV(major, baseminor)
    return -EBUSY, 0


def unregister_chrdev_region(first: int, count: int) -> None:
    """Give a major number back."""
    _variables().majors.pop(MAJOR(first))


def cdev_init(char: cdev, fops: file_operations, owner: Any) -> None:
    """Prepare a character device. `owner` is the structure that embeds it."""
    char.ops, char._owner = fops, owner


def cdev_device_add(char: cdev, dev: device) -> int:
    """Let a device's number stand for the character device, and make the device known. Returns 0 or -errno."""
    char.dev, char.count = dev.devt, 1
    if rc := kobj_map(_variables().cdev_map, char.dev, 1, NULL, lambda devt, data: data, NULL, char):
        return rc
    if rc := device_add(dev):
        kobj_unmap(_variables().cdev_map, char.dev, 1)
    return rc


def chrdev_open(inode: inode, filp: file) -> int:
    """Somebody opens a node: from now on the file is the driver's. Returns 0 or -errno."""
    if MAJOR(inode.i_rdev) == MISC_MAJOR:
        return misc_open(inode, filp)
    found, _ = kobj_lookup(_variables().cdev_map, inode.i_rdev)
    if found is None:
        return -ENXIO
    inode.i_cdev = found
    filp.f_op = found.ops
    return filp.f_op.open(inode, filp)


def cdev_device_del(char: cdev, dev: device) -> None:
    """Take a character device's device and number away again. Who has it open keeps it."""
    device_del(dev)
    kobj_unmap(_variables().cdev_map, char.dev, 1)
