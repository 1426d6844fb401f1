"""Devices: what the driver core does with one, and the node that user space opens it by (drivers/base/core.c, device.h,
drivers/base/class.c, drivers/base/devtmpfs.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.base import EINVAL, ENOMEM, ERR_PTR, MAJOR, MINOR, done_once, printk_ratelimited
from blkmodel.services.data.list import list_head
from blkmodel.services.devices.kobject import (KOBJ_ADD, KOBJ_REMOVE, attribute_group, kobj_type, kobject, kobject_add,
    kobject_del, kobject_init, kobject_put, kobject_uevent, sysfs, sysfs_create_group, sysfs_create_link,
    sysfs_remove_group, sysfs_remove_link)
from blkmodel.services.files.inode import S_IFBLK, S_IFCHR, inode, iput
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE, kfree, kzalloc
from blkmodel.services.tasks import mutex
from blkmodel.sim import NULL, Context, Struct, statics, this


class device_type(Struct, size=48):
    """A kind of device: the files of its kind, what frees one, and devnode(dev), the name of its node (None: as the
    device)."""

    name: str = ""
    groups: tuple = ()
    release: Callable[..., None] = NULL
    devnode: Callable[..., str] = NULL
    uevent: Callable[..., list[str]] = NULL


class class_(Struct, size=120):
    """A class of devices (in C `struct class`), whatever drives them."""

    name: str = ""
    dev_release: Callable[..., None] = NULL
    devnode: Callable[..., str] = NULL
    dev_uevent: Callable[..., list[str]] = NULL


class device(Struct, size=448):
    """A device. `kobj` is its object in sysfs; _owner is the structure that embeds it (in C found by its address).
    `class_` is C's `class`. msi_list: the interrupts that it can write as messages."""

    kobj: kobject = field(default_factory=kobject)
    parent: device = NULL
    type: device_type = NULL
    bus: Any = None
    driver: Any = None
    driver_data: Any = None
    msi_list: list_head = NULL
    mutex: mutex = field(default_factory=lambda: mutex("&dev->mutex"))
    numa_node: int = NUMA_NO_NODE
    devt: int = 0
    class_: class_ = NULL
    groups: tuple = NULL
    release: Callable[..., None] = NULL
    _owner: Any = None


class devices(statics):
    """The devices of each class, by the class's name; and the nodes of devtmpfs: name → node."""

    def __init__(self) -> None:
        self.of_class: dict[str, list[device]] = {}
        self.nodes: dict[str, devtmpfs_node] = {}


class devtmpfs_node(Struct, size=0):
    """A name below /dev and the inode that stands for it, which remembers the device that it was opened for. mode says
    of which kind the device is."""

    name: str = ""
    rdev: int = 0
    mode: int = S_IFBLK
    inode: inode = NULL


def _release(kobj: kobject) -> None:
    """The last reference is gone: let whoever made the device free it."""
    dev = kobj._owner
    release = dev.release or (dev.type and dev.type.release) or (dev.class_ and dev.class_.dev_release)
    assert release, f"device {kobj.name} has no release function"
    release(dev)


def _uevent(kobj: kobject) -> list[str]:
    """What user space is told of a device: its number and its node's name, and what its kind adds."""
    dev, words = kobj._owner, []
    if MAJOR(dev.devt):
        words += [f"MAJOR={MAJOR(dev.devt)}", f"MINOR={MINOR(dev.devt)}", f"DEVNAME={device_get_devnode(dev)}"]
    if dev.type is not None and dev.type.name:
        words.append(f"DEVTYPE={dev.type.name}")
    for uevent in (dev.class_ and dev.class_.dev_uevent, dev.type and dev.type.uevent):
        words += uevent(dev) if uevent else []
    return words


device_ktype = kobj_type(release=_release, uevent=_uevent)


def device_initialize(dev: device, owner: Any = None) -> None:
    """Make a zeroed device one that has a reference. `owner` is the structure that embeds it."""
    kobject_init(dev.kobj, device_ktype, dev)
    dev._owner = owner if owner is not None else dev
    dev.numa_node = NUMA_NO_NODE


def dev_name(dev: device) -> str:
    return dev.kobj.name


def dev_info(dev: device, line: str) -> None:
    """Log a line about a device, after its driver's (or its class's) name and its own."""
    this().printk(_line(dev, line))


def _line(dev: device, line: str) -> str:
    kind = dev.driver or dev.bus or dev.class_
    return f"{kind.name if kind is not None else ''} {dev_name(dev)}: {line}"


dev_warn = dev_err = dev_info


def dev_warn_ratelimited(dev: device, line: str) -> None:
    """Log a line about a device, ten times in five seconds from each place."""
    printk_ratelimited(_line(dev, line), depth=2)


def dev_warn_once(dev: device, line: str) -> None:
    """Log a line about a device, once only from each place in the source, whichever device it is about."""
    if done_once().first(1):
        dev_warn(dev, line)


def dev_set_name(dev: device, name: str) -> int:
    dev.kobj.name = name
    return 0


def dev_set_uevent_suppress(dev: device, suppress: Any) -> None:
    dev.kobj.uevent_suppress = bool(suppress)


def dev_set_drvdata(dev: device, data: Any) -> None:
    dev.driver_data = data


def dev_get_drvdata(dev: device) -> Any:
    return dev.driver_data


def dev_to_node(dev: device) -> int:
    return dev.numa_node


def set_dev_node(dev: device, node: int) -> None:
    dev.numa_node = node


def class_create(name: str) -> class_:
    """Make a class of devices. Returns it, or an error pointer."""
    if (made := kzalloc(class_, GFP_KERNEL)) is None:
        return ERR_PTR(-ENOMEM)
    made.name = name
    return made


def class_destroy(of_class: class_) -> None:
    kfree(of_class)


def get_device(dev: device) -> device:
    if dev is not None:
        dev.kobj.refcount += 1
    return dev


def put_device(dev: device) -> None:
    if dev is not None:
        kobject_put(dev.kobj)


def whole_disks() -> dict[str, Any]:
    """The disks that there are, by name. (Not the kernel's.)"""
    return {dev_name(dev): dev._owner for dev in devices().of_class.get("block", ()) if dev.type.name == "disk"}


def device_get_devnode(dev: device) -> str:
    """The name of a device's node."""
    devnode = (dev.type and dev.type.devnode) or (dev.class_ and dev.class_.devnode)
    return (devnode and devnode(dev)) or dev_name(dev)


def device_add(dev: device) -> int:
    """Make a device known: its files, its node, its place in its class. Returns 0 or -errno."""
    if not dev_name(dev):
        return -EINVAL
    get_device(dev.parent)
    if dev.parent is not None and dev.numa_node == NUMA_NO_NODE:
        dev.numa_node = dev.parent.numa_node
    if error := kobject_add(dev.kobj, dev.parent.kobj if dev.parent is not None else NULL, dev_name(dev)):
        put_device(dev.parent)
        return error
    if dev.class_ is not None:
        sysfs_create_link(_class_directory(dev.class_), dev.kobj, dev_name(dev))
    for group in _groups(dev):
        sysfs_create_group(dev.kobj, group)
    if MAJOR(dev.devt):
        devtmpfs_create_node(dev)
    kobject_uevent(dev.kobj, KOBJ_ADD)
    if dev.class_ is not None:
        devices().of_class.setdefault(dev.class_.name, []).append(dev)
    return 0


def device_del(dev: device) -> None:
    """Take a device out of sysfs, of its class and of /dev. It lives on while somebody holds it."""
    if MAJOR(dev.devt):
        devtmpfs_delete_node(dev)
    if dev.class_ is not None:
        sysfs_remove_link(_class_directory(dev.class_), dev_name(dev))
        devices().of_class[dev.class_.name].remove(dev)
    for group in _groups(dev):
        sysfs_remove_group(dev.kobj, group)
    kobject_uevent(dev.kobj, KOBJ_REMOVE)
    kobject_del(dev.kobj)
    put_device(dev.parent)


def device_unregister(dev: device) -> None:
    device_del(dev)
    put_device(dev)


def device_create(of_class: class_, parent: device, devt: int, drvdata: Any, name: str) -> device:
    """Allocate and add a device that has no structure around it; None on failure (in C an error pointer)."""
    if (dev := kzalloc(device, GFP_KERNEL)) is None:
        return NULL
    device_initialize(dev)
    dev.devt, dev.class_, dev.parent, dev.release = devt, of_class, parent, kfree
    dev_set_drvdata(dev, drvdata)
    dev_set_name(dev, name)
    device_add(dev)
    return dev


def devtmpfs_create_node(dev: device) -> None:
    """Let the thread that owns devtmpfs make the device's node, and wait for it."""
    name = device_get_devnode(dev)

    def create() -> None:
        is_blockdev = dev.class_ is not None and dev.class_.name == "block"
        devices().nodes[name] = devtmpfs_node(name, dev.devt, S_IFBLK if is_blockdev else S_IFCHR)
    _in_kdevtmpfs(create)


def devtmpfs_delete_node(dev: device) -> None:
    """Let that thread remove the node. Whoever opened it keeps the device open, but nobody else finds it."""
    name = device_get_devnode(dev)

    def delete() -> None:
        if (node := devices().nodes.pop(name, None)) is not None:
            iput(node.inode)
    _in_kdevtmpfs(delete)


def _in_kdevtmpfs(fn: Callable[[], None]) -> None:
    kernel = this()
    kernel.run_in(Context("task", "kdevtmpfs", kernel.cpu), fn)


def _groups(dev: device) -> tuple[attribute_group, ...]:
    return (*(dev.type.groups if dev.type is not None else ()), *(dev.groups or ()))


def _class_directory(of_class: class_) -> kobject:
    return sysfs().root.setdefault(of_class.name, kobject(name=of_class.name))
