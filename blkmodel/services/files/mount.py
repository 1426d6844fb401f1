"""A disk's number from its name, as the kernel finds its root file system (init/do_mounts.c)."""

from blkmodel.services.base.kdev_t import MAJOR, MINOR, MKDEV, new_decode_dev
from blkmodel.services.base.symbols import linked
from blkmodel.services.base.text import simple_strtoul, sscanf

Root_NFS, Root_RAM0 = MKDEV(0, 255), MKDEV(1, 0)
NAME_MAX = 31


def name_to_dev_t(name: str) -> int:
    """The number of `/dev/DISK`, of `/dev/DISK3` or `/dev/DISKp3` (a partition, whatever is below /dev), of
    `MAJOR:MINOR`, or of a hexadecimal number; 0 for anything else. (Names by UUID and label are left out: partitions of
    the model have none.)"""
    if not name.startswith("/dev/"):
        for form, values in (("%u:%u%c", 2), ("%u:%u:%u:%c", 3)):
            read = sscanf(name, form)
            if len(read) == values:
                number = MKDEV(read[0], read[1])
                return number if (MAJOR(number), MINOR(number)) == (read[0], read[1]) else 0
        value, rest = simple_strtoul(name, 16)
        return 0 if rest else new_decode_dev(value & 0xFFFFFFFF)
    if (name := name.removeprefix("/dev/")) in ("nfs", "ram"):
        return Root_NFS if name == "nfs" else Root_RAM0
    if len(name.encode("utf8", "surrogateescape")) > NAME_MAX:
        return 0
    name = name.replace("/", "!")
    if found := linked.blk_lookup_devt(name, 0):
        return found
    disk = name.rstrip("0123456789")
    digits = name[len(disk):]
    if not disk or not digits or digits[0] == "0":
        return 0
    found = linked.blk_lookup_devt(disk, int(digits))
    if found or len(disk) < 2 or not disk[-2].isdigit() or disk[-1] != "p":
        return found
    return linked.blk_lookup_devt(disk[:-1], int(digits))
