"""What sysfs shows of a mapped device, in the directory `dm` of its disk."""

from blkmodel.drivers.md import dm, dm_ioctl, dm_rq
from blkmodel.drivers.md.dm_builtin import dm_kobject_release
from blkmodel.drivers.md.dm_core_h import dm_get_completion_from_kobject, mapped_device
from blkmodel.include.linux.genhd import disk_to_dev
from blkmodel.services import (EINVAL, EIO, attribute, kobj_type, kobject, kobject_add, kobject_init, kobject_put,
    sysfs_create_files, wait_for_completion)


def dm_attr_show(kobj: kobject, attr: attribute) -> str | int:
    """The text of a file; -EINVAL for a device that is going."""
    if (md := dm.dm_get_from_kobject(kobj)) is None:
        return -EINVAL
    ret = attr.show(md)
    dm.dm_put(md)
    return ret


def dm_attr_name_show(md: mapped_device) -> str | int:
    """name: the device's name and a newline; -EIO for a device that has lost it."""
    r, name, _ = dm_ioctl.dm_copy_name_and_uuid(md)
    return -EIO if r else f"{name}\n"


def dm_attr_uuid_show(md: mapped_device) -> str | int:
    """uuid: the device's UUID (nothing where it has none) and a newline; -EIO for a device that has lost its name."""
    r, _, uuid = dm_ioctl.dm_copy_name_and_uuid(md)
    return -EIO if r else f"{uuid}\n"


def dm_attr_suspended_show(md: mapped_device) -> str:
    """suspended: 1 while user space has suspended the device, else 0."""
    return f"{int(dm.dm_suspended_md(md))}\n"


def dm_attr_use_blk_mq_show(md: mapped_device) -> str:
    """use_blk_mq: always, as far as it has requests; for user space that still asks."""
    return "1\n"


dm_attrs = (
    attribute("name", 0o444, dm_attr_name_show), attribute("uuid", 0o444, dm_attr_uuid_show),
    attribute("suspended", 0o444, dm_attr_suspended_show), attribute("use_blk_mq", 0o444, dm_attr_use_blk_mq_show),
    attribute("rq_based_seq_io_merge_deadline", 0o644,
              lambda md: dm_rq.dm_attr_rq_based_seq_io_merge_deadline_show(md)))
dm_ktype = kobj_type(release=dm_kobject_release)


def dm_sysfs_init(md: mapped_device) -> int:
    """Make the directory `dm` of a device in sysfs, with its files. Returns 0 or -errno."""
    parent = disk_to_dev(dm.dm_disk(md)).kobj
    kobj = dm.dm_kobject(md)
    md.kobj_holder._md = md
    kobject_init(kobj, dm_ktype, md.kobj_holder)
    if not (r := kobject_add(kobj, parent, "dm")):
        sysfs_create_files(kobj, dm_attrs)
    return r


def dm_sysfs_exit(md: mapped_device) -> None:
    """Remove the directory `dm` of a device, and wait until nobody reads a file of it."""
    kobj = dm.dm_kobject(md)
    kobject_put(kobj)
    wait_for_completion(dm_get_completion_from_kobject(kobj))
