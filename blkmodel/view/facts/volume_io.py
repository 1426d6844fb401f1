"""An I/O of a logical volume on two NVMe disks: the volume's table, the pieces, and what each disk saw of it."""

from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device import Controller, Namespace
from blkmodel.sim import booted
from blkmodel.trace import Command, Doorbell, Recording, record
from blkmodel.userland import lvm
from blkmodel.userland.lvm.volumes import LogicalVolume, PhysicalVolume
from blkmodel.view.facts.bio_pieces import CUT, Piece, pieces
from blkmodel.view.facts.mapped import targets_of

SIZE, MOST = 4096, 1024  # KiB: of the volume, and of one I/O
SECTORS, SLOTS = 16384, 12  # of each disk, and of its queues
VOLUMES = {"linear": "linear", "striped over two disks": "striped", "extended behind another": "around",
           "extended to another disk": "onward"}
COMMANDS = {
    "linear": ("lvcreate -l 4 -n data vg0",),
    "striped": ("lvcreate --type striped -i 2 -l 4 -n data vg0",),
    "around": ("lvcreate -l 2 -n data vg0", "lvcreate -l 3 -n other vg0", "lvextend -l +2 vg0/data"),
    "onward": ("lvcreate -l 2 -n data vg0", "lvextend -l +2 vg0/data /dev/nvme1n1")}
_GROUP = "vgcreate -s 1m vg0 /dev/nvme0n1 /dev/nvme1n1"


class Request(NamedTuple):
    """A request: its sectors on the disk, its tag, and the slot that its command was put in."""

    first: int
    sectors: int
    tag: int
    slot: int


class Pair(NamedTuple):
    """What a disk saw: by which queue pair, and for which blk_mq_hw_ctx. doorbells: each value that its one got."""

    number: int
    hctx: int
    requests: tuple[Request, ...]
    doorbells: tuple[int, ...]


class Told(NamedTuple):
    """One I/O of a volume. runs: disk → [(first sector, sectors, segment, or None: another volume's)]. segments: LVM's.

    lines: the table. pairs: disk → its Pair, of those that saw anything.
    """

    segments: list[Any]
    runs: dict[str, list[tuple[int, int, int | None]]]
    lines: list[str]
    pieces: tuple[Piece, ...]
    pairs: dict[str, Pair]


@lru_cache(maxsize=16)
def went_down(volume: str, op: str, first: int, kib: int, cpu: int) -> Told:
    """Make the volume on a new machine, do the I/O, and look."""
    controllers = {f"nvme{n}n1": Controller(2, dbbuf=False, serial=f"{n + 1:04}", namespaces={1: Namespace(SECTORS)})
                   for n in range(2)}
    with booted(4):
        for controller in controllers.values():
            scenario.nvme_probe(controller=controller, io_queue_depth=SLOTS)
        scenario.dm_load()
        for command in (_GROUP, *COMMANDS[volume]):
            lvm.lvm(*command.split())
        lv = lvm.volume("vg0/data")
        recording = record(scenario.io, "dm-0", op, first << 10, kib << 10, cpu=cpu, watched=CUT)
        seen = {disk: _seen(recording, disk, controller) for disk, controller in controllers.items()}
        return Told(lv.segments, {pv.path.removeprefix("/dev/"): _runs(lv, pv) for pv in lv.vg.pvs},
                    lv.table().split("\n"), pieces(recording, targets_of(scenario.disk("dm-0").private_data.map)),
                    {disk: pair for disk, pair in seen.items() if pair is not None})


def _runs(lv: LogicalVolume, pv: PhysicalVolume) -> list[tuple[int, int, int | None]]:
    """The sectors of a disk that are in use: (first, sectors, segment of this volume or None)."""
    size = lv.vg.extent_size
    ours = {pe: i for i, segment in enumerate(lv.segments) for where, pe in segment.areas if where is pv}
    return [(pv.pe_start + pe * size, count * size, ours[pe] if whose is lv else None)
            for pe, count, whose in pv.used()]


def _seen(recording: Recording, disk: str, controller: Controller) -> Pair | None:
    """What a disk saw of an I/O, or None."""
    if not (commands := [event for event in recording.of(Command) if event.device is controller]):
        return None
    number = commands[0].queue
    hctx = next(hctx for hctx in scenario.disk(disk).queue.queue_hw_ctx if hctx.driver_data.qid == number)
    return Pair(number, hctx.queue_num, tuple(
        Request(event.command.slba, event.command.length + 1, event.command.command_id, event.slot)
        for event in commands), tuple(event.value for event in recording.of(Doorbell)
                                      if event.device is controller and event.side == "sq"))
