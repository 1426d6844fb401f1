"""What a user looks at without changing it: files below /proc, /sys/block and /sys/kernel/config, and the disks that
there are."""

from collections.abc import Callable
from functools import partial

from blkmodel.block import blk_sysfs
from blkmodel.drivers.md import dm_sysfs
from blkmodel.errors import NotModelled
from blkmodel.include.linux.genhd import part_devt, part_to_dev
from blkmodel.services.base.kdev_t import format_dev_t
from blkmodel.services.devices.configfs import configfs_read_file
from blkmodel.services.devices.device import dev_name, whole_disks
from blkmodel.services.devices.kobject import object_at
from blkmodel.services.files.proc import proc, seq_read
from blkmodel.userland.tools import known

CONFIG = "/sys/kernel/config/"
SHOW = {blk_sysfs.blk_queue_ktype: blk_sysfs.queue_attr_show, dm_sysfs.dm_ktype: dm_sysfs.dm_attr_show}


def reader(file: str) -> Callable[[], str | int]:
    """What reads a file: it returns the text, or -errno.

    NotModelled, with its name, for one that Linux 5.4 has and the model has not; KeyError for one that there is not.
    """
    at, _, name = file.rpartition("/")
    if at == "/proc" and name in proc().files:
        return partial(seq_read, proc().files[name])
    top = next((top for top in ("/proc", "/sys/block/", CONFIG) if file.startswith(top)), None)
    if top is not None and name in known(f"{top} files not modelled"):
        raise NotModelled(file)
    if top == CONFIG:
        return partial(configfs_read_file, file.removeprefix(CONFIG))
    kobj = object_at(at.removeprefix("/sys/")) if top == "/sys/block/" else None
    if kobj is None or name not in kobj.attrs:
        raise KeyError(f"there is no file {file!r}")
    attr = kobj.attrs[name]
    if attr.show is None:
        raise NotModelled(file)
    return partial(SHOW[kobj.ktype], kobj, attr) if kobj.ktype in SHOW else partial(attr.show, kobj._owner)


def lsblk() -> str:
    """What disks and partitions there are, with sizes in bytes: `lsblk -b -o NAME,MAJ:MIN,SIZE,RO,TYPE`."""
    rows = [("NAME", "MAJ:MIN", "SIZE", "RO", "TYPE")]
    for name, disk in sorted(whole_disks().items()):
        parts = [part for part in disk.part_tbl.part if part is not None]
        kind = "dm" if name.startswith("dm-") else "disk"
        for part in parts:
            branch = "" if not part.partno else "└─" if part is parts[-1] else "├─"
            devt = part_devt(part)
            rows.append((branch + dev_name(part_to_dev(part)), format_dev_t(devt),
                         str(part.nr_sects << 9), str(int(bool(part.policy))), kind if not part.partno else "part"))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(f"{row[0]:{wide[0]}} {row[1]:>{wide[1]}} {row[2]:>{wide[2]}} {row[3]:>{wide[3]}} {row[4]}\n"
                   for row in rows)
