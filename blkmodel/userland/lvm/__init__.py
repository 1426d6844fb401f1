"""LVM: what pvcreate, vgcreate, lvcreate and lvextend make of disks, down to the tables that device mapper is given.

run() does one command as a process of the running kernel; lvm() does the same and raises what dmsetup's functions
raise; volume() looks at what has become of it. The tools say and do what those of LVM 2.03.16 say and do. The metadata
is kept beside the disks and not written to them; volumes are linear or striped; there are no tags, mirrors, snapshots,
RAID or pools, and what lies on a new volume is neither zeroed nor wiped.
"""

from blkmodel.userland.lvm.commands import COMMANDS, run
from blkmodel.userland.lvm.process import Outcome
from blkmodel.userland.lvm.volumes import LogicalVolume, metadata
from blkmodel.userland.tools import output_of

__all__ = ["COMMANDS", "Outcome", "lvm", "metadata", "run", "volume"]


def lvm(*words: str) -> str:
    """Do a command, such as `lvm("lvcreate", "-L", "10m", "vg0")`, and return its output.

    KernelError where an ioctl fails, with its errno; ValueError with the tool's own words where it comes to none.
    """
    return output_of(words, lambda: run(words))


def volume(path: str) -> LogicalVolume:
    """The logical volume `VG/LV`: its segments, and table()."""
    group, _, name = path.removeprefix("/dev/").partition("/")
    found = metadata().vgs[group].lv(name) if group in metadata().vgs else None
    if found is None:
        raise KeyError(f"there is no logical volume {path!r}")
    return found
