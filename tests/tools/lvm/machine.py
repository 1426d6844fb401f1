"""A machine for LVM: disks of given sizes that are called, and numbered, as loop devices.

They keep nothing: what LVM writes to them is not part of the model.
"""

from contextlib import contextmanager
from unittest import mock

from blkmodel import boot, scenario
from blkmodel.include.linux.dm_ioctl import _IOC_NR
from blkmodel.services.base.err import ENOMEM
from blkmodel.userland import libdm
from blkmodel.userland.lvm.volumes import metadata
from tests.drivers.md import disks
from tests.tools.lvm.server import kind_of

LOOP_MAJOR = 7


class Nothing(bytearray):
    """The store of a disk whose contents do not matter."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, part):
        return bytes(part.stop - part.start)


class Loop(disks.Disk):
    """A disk with the number of a loop device."""

    major = LOOP_MAJOR


def machine(sizes):
    """Boot a machine with disks of so many sectors, /dev/loop0 and on. Returns its kernel."""
    kernel = boot(2)
    for n, sectors in enumerate(sizes):
        disks.load(lambda n=n, sectors=sectors: Loop(f"loop{n}", Nothing(sectors * 512)))
    scenario.dm_load()
    return kernel


@contextmanager
def refusing(kind):
    """A kernel that has no memory for ioctls of a kind (None: for all), for a `with` block."""
    real = libdm.vfs_ioctl

    def ioctl(file, cmd, block):
        return -ENOMEM if kind is not None and kind_of(_IOC_NR(cmd), block) == kind else real(file, cmd, block)
    with mock.patch.object(libdm, "vfs_ioctl", ioctl):
        yield


def segments():
    """For each logical volume: [first extent, extents, stripe size, [disk:first-last, …]] of each segment."""
    return {lv.name: [[segment.start, segment.length, segment.stripe_size,
                       [f"{pv.path}:{pe}-{pe + segment.area_length - 1}" for pv, pe in segment.areas]]
                      for segment in lv.segments] for vg in metadata().vgs.values() for lv in vg.lvs}
