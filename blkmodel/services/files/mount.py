"""A disk's number from its name, as the kernel finds its root file system (init/do_mounts.c)."""

import re

from blkmodel.services.base import MAJOR, MINOR, MKDEV, linked, new_decode_dev, simple_strtoul, sscanf

ROOTS = {"nfs": MKDEV(0, 255), "ram": MKDEV(1, 0)}
"""What else the root file system may be on."""


def name_to_dev_t(name: str) -> int:
    """The number of `/dev/DISK` or of its partition, of `MAJOR:MINOR`, or of a hexadecimal number; 0 for anything else.
    (Those by UUID and label are left out: partitions of the model have none.)"""
    if name.startswith("/dev/"):
        disk = name[5:].replace("/", "!")
        return ROOTS.get(disk) or (_of_disk(disk) if len(disk) <= 31 else 0)
    for form, values in (("%u:%u%c", 2), ("%u:%u:%u:%c", 3)):
        read = sscanf(name, form)
        if len(read) == values:
            number = MKDEV(read[0], read[1])
            return number if (MAJOR(number), MINOR(number)) == (read[0], read[1]) else 0
    value, rest = simple_strtoul(name, 16)
    return 0 if rest else new_decode_dev(value & 0xFFFFFFFF)


def _of_disk(name: str) -> int:
    """The number of a disk, or else of the partition that a name ends with: `sda1`, `nvme0n1p1`."""
    number: int = linked.blk_lookup_devt(name, 0)
    if not number and (found := re.fullmatch(r"(.*\D)([1-9]\d*)", name)):
        disk, part = found[1], int(found[2])
        number = linked.blk_lookup_devt(disk, part)
        if not number and re.search(r"\dp$", disk):
            number = linked.blk_lookup_devt(disk[:-1], part)
    return number
