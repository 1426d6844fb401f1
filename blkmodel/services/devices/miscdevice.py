"""Character devices of drivers that need only one number (drivers/char/misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blkmodel.services.base.errno import EBUSY, ENODEV, ENOMEM
from blkmodel.services.base.kdev_t import MINOR, MKDEV
from blkmodel.services.devices.device import class_, dev_get_drvdata, device, device_create, device_unregister
from blkmodel.services.files.inode import inode
from blkmodel.sim import statics
from blkmodel.sim.structure import NULL, Struct, struct

if TYPE_CHECKING:
    from blkmodel.services.files.file import file
    from blkmodel.services.files.node import file_operations

MISC_MAJOR = 10
MAPPER_CTRL_MINOR = 236


def _misc_devnode(dev: device) -> str:
    return dev_get_drvdata(dev).nodename


misc_class = class_(name="misc", devnode=_misc_devnode)


@struct
class miscdevice(Struct):
    """Such a device: its number, its name, that of its node, and what can be done with the node when it is open."""

    SIZE = 80
    minor: int = 0
    name: str = ""
    nodename: str = ""
    fops: file_operations = NULL


@statics
class misc_list:
    """The devices that are registered, by minor number: (miscdevice, its device)."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[miscdevice, device]] = {}


def misc_register(misc: miscdevice) -> int:
    """Make a device known, with its node. Returns 0, -EBUSY for a number that is taken, or -ENOMEM."""
    held = misc_list().held
    if misc.minor in held:
        return -EBUSY
    dev = device_create(misc_class, NULL, MKDEV(MISC_MAJOR, misc.minor), misc, misc.name)
    if dev is None:
        return -ENOMEM
    held[misc.minor] = misc, dev
    return 0


def misc_deregister(misc: miscdevice) -> None:
    """Take a device away again, with its node."""
    device_unregister(misc_list().held.pop(misc.minor)[1])


def misc_open(inode: inode, filp: file) -> int:
    """Somebody opens such a node: from now on the file is the driver's. Returns 0 or -errno."""
    misc, _ = misc_list().held.get(MINOR(inode.i_rdev), (None, None))
    if misc is None:
        return -ENODEV
    filp.f_op = misc.fops
    return misc.fops.open(inode, filp) if misc.fops.open is not None else 0
