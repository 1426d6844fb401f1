"""A machine with disks of some kind and device mapper on it, and targets that answer as a test wants."""

from blkmodel import boot, scenario
from blkmodel.drivers.md import dm_table, dm_target
from blkmodel.include.linux.device_mapper import DM_ENDIO_DONE, DM_MAPIO_REMAPPED, target_type
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load

MS = 1_000_000
SECTOR = 512
SECTORS = 192


class Machine:
    """A machine with some disks that hold numbers, and device mapper."""

    def __init__(self, disks=3, cpus=2, sectors=SECTORS, **more):
        self.kernel = boot(cpus)
        self.stores = {f"d{n}": bytearray(b"".join((n << 16 | i).to_bytes(4, "little") * 128 for i in range(sectors)))
                       for n in range(disks)}
        self.disks = [load(lambda name=name, store=store: Disk(name, store, **more))
                      for name, store in self.stores.items()]
        control.load_modules()
        for table in ("0 8 zero", *(f"0 8 linear /dev/{name} 0" for name in self.stores)):
            assert control.create("warm", table) == 0  # what is made once and kept
            assert control.remove("warm") == 0

    def md(self, name="dm-0"):
        return scenario.disk(name).private_data

    def advance(self, milliseconds=1):
        self.kernel.loop.advance(milliseconds * MS)

    def in_table(self):
        """The disks as a table names them, and their sectors."""
        return [(f"/dev/{name}", len(store) // SECTOR) for name, store in self.stores.items()]


class Scripted:
    """A type of target that answers as it is told: map, then end_io, by the number of the bio."""

    def __init__(self, maps=(), ends=(), **more):
        self.maps, self.ends, self.bios = list(maps), list(ends), []
        self.type = target_type(name="scripted", version=(1, 0, 0), ctr=self.ctr, map=self.map,
                                end_io=self.end_io if ends else None, **more)
        assert dm_target.dm_register_target(self.type) == 0
        self.settings = {}

    def ctr(self, ti, argc, argv):
        for name, value in self.settings.items():
            setattr(ti, name, value)
        error, ti.private = dm_table.dm_get_device(ti, argv[0], 3)
        return error

    def map(self, ti, bio):
        self.bios.append(bio)
        bio.bi_disk = ti.private.bdev.bd_disk
        answer = self.maps.pop(0) if self.maps else DM_MAPIO_REMAPPED
        return answer(bio) if callable(answer) else answer

    def end_io(self, ti, bio, error):
        answer = self.ends.pop(0) if self.ends else DM_ENDIO_DONE
        return answer, error




def noting(calls, answer):
    """A function that notes its arguments, as a tuple, and returns `answer`."""
    def called(*args):
        calls.append(args)
        return answer
    return called
