"""A disk's number from a name that need not be in /dev."""

import pytest

from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.files.mount import name_to_dev_t

DISK = MKDEV(254, 0)


@pytest.mark.parametrize(("name", "number"), [
    ("254:0", DISK), ("9:3", MKDEV(9, 3)), ("9:3:77", MKDEV(9, 3)), ("9:3:77:", MKDEV(9, 3)),
    ("9:3:77:x", 0), ("9:3x", 0),
    ("4096:0", 0), ("9:1048576", 0), ("fe00", DISK), ("0xfe00", DISK), ("12300", MKDEV(0x123, 0)),
    ("d0", MKDEV(0, 0xD0)), ("fe00x", 0),
    ("nullb0", 0), ("", 0), ("/dev/nullb7", 0), ("/dev/", 0),
])
def test_numbers_of_names(name, number):
    assert name_to_dev_t(name) == number
