"""A disk's number from its name, as the kernel finds its root file system (init/do_mounts.c)."""

from blkmodel.services.base.kdev_t import MAJOR, MINOR, MKDEV, new_decode_dev
from blkmodel.services.base.text import simple_strtoul, sscanf


def name_to_dev_t(name: str) -> int:
    """The number of `MAJOR:MINOR`, or of a hexadecimal number; 0 for anything else. (Names of disks are left out, as
    lookup_bdev() knows all that are there; and so are those by UUID and label: partitions of the model have none.)"""
    for form, values in (("%u:%u%c", 2), ("%u:%u:%u:%c", 3)):
        read = sscanf(name, form)
        if len(read) == values:
            number = MKDEV(read[0], read[1])
            return number if (MAJOR(number), MINOR(number)) == (read[0], read[1]) else 0
    value, rest = simple_strtoul(name, 16)
    return 0 if rest else new_decode_dev(value & 0xFFFFFFFF)
