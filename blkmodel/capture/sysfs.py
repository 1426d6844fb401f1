"""`blkmodel capture`: the queue maps of the machine it runs on, as a `blkmodel-capture/1` recording. It only reads.

Every disk that has hardware queues (`/sys/block/*/mq`) is a case. NVMe and null_blk are told with the parameters that
the model is run with; of the others, how many queues there are, and how many of them have a vector of their own.

What only root may read (types of hardware queues, bitmaps, from debugfs) or what the kernel does not tell is left
out, and said. `root` stands in front of every path that is read, for a tree that was copied from another machine.
"""

import platform
import re
from itertools import islice
from pathlib import Path
from typing import Any

from blkmodel.capture.files import FileError, read_bytes, read_text
from blkmodel.capture.formats import MOST_CASES
from blkmodel.capture.shapes import cpus_of
from blkmodel.sim import MachineError, format_cpulist

NUMBER = re.compile(r"-?[0-9]{1,19}")
MOST_NAMES = 1 << 16  # of a directory that are looked at
MOST_FILES = 1 << 17  # that are read: with 1024 CPUs, some forty disks of as many queues
NULL_BLK = {"submit_queues": True, "hw_queue_depth": True, "queue_mode": False, "home_node": False, "no_sched": False,
            "use_per_node_hctx": False, "shared_tags": False, "poll_queues": False}
"""The parameters of null_blk's that say which queues it gets; whether every kernel has them."""


class CaptureError(ValueError):
    """There is nothing to record here: what has to be there is not, or is not what the kernel writes."""


class Reader:
    """Reads files below a root; remembers in `missing` what it could not read, and why."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.missing: list[str] = []
        self.read = 0
        self.debugfs = bool(self.names("sys/kernel/debug/block"))

    def text(self, path: str, needed: bool = True) -> str | None:
        """The file's text without its line end; None where it cannot be read."""
        self.read += 1
        if self.read > MOST_FILES:
            raise CaptureError(f"expected the files of a running kernel, at most {MOST_FILES}")
        try:
            return read_text(self.root / path).strip()
        except FileError as why:
            if needed:
                self.missing.append(f"/{path}: {str(why).removeprefix('expected a file that can be read: ')}")
            return None

    def number(self, path: str, needed: bool = True) -> int | None:
        """A number, or 0 or 1 for what the kernel shows as N or Y; None where it cannot be read, or is no such."""
        text = self.text(path, needed) or ""
        return int(text) if NUMBER.fullmatch(text) else {"N": 0, "Y": 1}.get(text)

    def cpus(self, path: str, needed: bool = True) -> frozenset[int] | None:
        """The CPUs of a list; None where it cannot be read, or is none."""
        text = self.text(path, needed)
        try:
            return None if text is None else cpus_of(text)
        except MachineError as why:
            self.missing.append(f"/{path}: {why}")
            return None

    def link(self, path: str) -> str:
        """Where a link leads to; nothing where it is none."""
        try:
            return (self.root / path).readlink().as_posix()
        except OSError:
            return ""

    def names(self, path: str) -> list[str]:
        """The names in a directory, numbers in numeric order; nothing where there is no such directory."""
        try:
            names = [entry.name for entry in islice((self.root / path).iterdir(), MOST_NAMES)]
        except OSError:
            return []
        return sorted(names, key=lambda name: ([int(n) for n in re.findall("[0-9]{1,9}", name)], name))


def capture(root: str | Path = "/", release: str | None = None,
            names: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Return the recording, and a line for each thing that could not be read. names: also those of the disks."""
    reader = Reader(root)
    found = ((disk, case) for disk in reader.names("sys/block") if (case := _disk(reader, disk)))
    cases = [{**case, "disk": disk} if names else case for disk, case in islice(found, MOST_CASES)]
    if cases and not reader.debugfs:
        reader.missing.append("/sys/kernel/debug/block: types of queues and the bitmap of tags; "
                              "for root, where mounted")
    recording = {"format": "blkmodel-capture/1", "kernel": {"release": release or platform.release()},
                 "machine": _machine(reader), "cases": cases}
    return recording, reader.missing


def _machine(reader: Reader) -> dict[str, Any]:
    cpu = "sys/devices/system/cpu"
    facts: dict[str, Any] = {}
    for name in ("possible", "present", "online"):
        if not (online := reader.cpus(f"{cpu}/{name}")):
            why = reader.missing[-1] if online is None else f"/{cpu}/{name}: no CPU"
            raise CaptureError(f"expected the files of a running kernel; {why}")
        facts[name] = format_cpulist(online)
    nodes = {}
    for name in reader.names("sys/devices/system/node"):
        if re.fullmatch(r"node(0|[1-9][0-9]{0,3})", name):
            cpus = reader.cpus(f"sys/devices/system/node/{name}/cpulist") or ()
            nodes[name.removeprefix("node")] = format_cpulist(cpus)
    siblings = {}
    for number in sorted(online or ()):
        threads = reader.cpus(f"{cpu}/cpu{number}/topology/thread_siblings_list", needed=False)
        siblings[str(number)] = format_cpulist(threads or {number})
    if isolated := reader.cpus(f"{cpu}/isolated", needed=False):
        facts["isolated"] = format_cpulist(isolated)
    return {**facts, "nodes": nodes or {"0": facts["online"]}, "thread_siblings": siblings}


def _disk(reader: Reader, disk: str) -> dict[str, Any] | None:
    """The case of one disk; None where it has no hardware queues."""
    if not (hctxs := [int(name) for name in reader.names(f"sys/block/{disk}/mq") if re.fullmatch("[0-9]{1,5}", name)]):
        return None
    if match := re.fullmatch(r"(nvme[0-9]+)(?:c[0-9]+)?n[0-9]+", disk):
        if reader.text(f"sys/class/nvme/{match[1]}/transport", needed=False) in (None, "pcie"):
            return _nvme(reader, disk, match[1])
    if re.fullmatch(r"nullb[0-9]+", disk):
        params = _told(**{name: reader.number(f"sys/module/null_blk/parameters/{name}", needed)
                          for name, needed in NULL_BLK.items()})
        return {"driver": "null_blk", "params": params, "observed": _observed(reader, disk)}
    return _other(reader, disk, max(hctxs) + 1)


def _other(reader: Reader, disk: str, queues: int) -> dict[str, Any]:
    """A disk of a driver of which only the map is known: by the name of the disk, or what its SCSI host is called."""
    where, params, vectors = reader.link(f"sys/block/{disk}"), {}, 0
    driver = "nvme over fabrics" if disk.startswith("nvme") else re.sub("[^A-Za-z].*", "", disk) or "other"
    if match := re.search(r"/host([0-9]{1,9})/target", where):
        host = f"sys/class/scsi_host/host{match[1]}"
        driver = "scsi " + re.sub("[^A-Za-z0-9_-]", "", reader.text(f"{host}/proc_name", needed=False) or "")
        queues = reader.number(f"{host}/nr_hw_queues", needed=False) or queues
    elif driver.startswith("vd"):
        driver = "virtio_blk"
        params = _told(poll_queues=reader.number("sys/module/virtio_blk/parameters/poll_queues", needed=False))
    if match := re.search(r"/(virtio[0-9]{1,9})/", where):
        vectors = len(re.findall(rf"\b{match[1]}-req(?:uest)?\b", reader.text("proc/interrupts", needed=False) or ""))
    device = {"queues": min(max(1, queues), 65535), "vectors": vectors}
    return {"driver": driver[:64], "params": params, "device": device, "observed": _observed(reader, disk)}


def _nvme(reader: Reader, disk: str, controller: str) -> dict[str, Any]:
    """An NVMe disk. How many queue pairs the controller has is not told; what it uses of them is."""
    params = _told(**{name: reader.number(f"sys/module/nvme/parameters/{name}", needed=False)
                      for name in ("write_queues", "poll_queues", "io_queue_depth")})
    observed = _observed(reader, disk)
    queues = reader.number(f"sys/class/nvme/{controller}/queue_count", needed=False)
    pairs = queues - 1 if queues else len(observed["hctxs"])
    device = _told(max_ioqpairs=min(max(1, pairs), 65535), vectors=_vectors(reader, controller))
    if (affinity := _interrupts(reader, controller)) and not params.get("poll_queues"):
        observed["irq_affinity"] = affinity
    return {"driver": "nvme", "params": params, "device": device, "observed": observed}


def _told(**facts: Any) -> dict[str, Any]:
    """Facts, without those that nobody tells."""
    return {name: value for name, value in facts.items() if value is not None}


def _vectors(reader: Reader, controller: str) -> int | None:
    """The interrupt vectors that a controller has, from its MSI-X capability; None where only root may read that."""
    try:
        config = read_bytes(reader.root / f"sys/class/nvme/{controller}/device/config", 4096)
    except FileError:
        return None
    at = config[0x34] & 0xFC if len(config) >= 256 else 0
    for _ in range(48):
        if not at:
            break
        if config[at] == 0x11:
            return (config[at + 2] | config[at + 3] << 8 & 0x700) + 1
        at = config[at + 1] & 0xFC
    return None


def _observed(reader: Reader, disk: str) -> dict[str, Any]:
    queue, debug = f"sys/block/{disk}/queue", f"sys/kernel/debug/block/{disk}"

    def hctx(index: str) -> dict[str, Any]:
        where = f"sys/block/{disk}/mq/{index}"
        return _told(index=int(index), cpus=sorted(reader.cpus(f"{where}/cpu_list") or ()),
                     type=reader.text(f"{debug}/hctx{index}/type", reader.debugfs) or None,
                     nr_tags=reader.number(f"{where}/nr_tags"),
                     nr_reserved_tags=reader.number(f"{where}/nr_reserved_tags"))
    return _told(nr_requests=reader.number(f"{queue}/nr_requests"),
                 scheduler=_chosen(reader.text(f"{queue}/scheduler")),
                 hctxs=[hctx(index) for index in reader.names(f"sys/block/{disk}/mq")
                        if re.fullmatch("[0-9]{1,5}", index)],
                 sbitmap=_sbitmap(reader.text(f"{debug}/hctx0/tags", reader.debugfs)))


def _chosen(schedulers: str | None) -> str | None:
    """The one of several that stands in brackets; or what else the file says."""
    chosen = re.search(r"\[(.+?)\]", schedulers or "")
    return chosen[1] if chosen else schedulers


def _sbitmap(tags: str | None) -> dict[str, int] | None:
    """The geometry of hctx0's tags, from debugfs; None where it is not there."""
    found = {name: re.search(rf"^{name}=([0-9]{{1,9}})$", tags or "", re.MULTILINE)
             for name in ("depth", "bits_per_word", "map_nr", "wake_batch")}
    values = {name: int(value[1]) for name, value in found.items() if value}
    return values if len(values) == len(found) else None


def _interrupts(reader: Reader, controller: str) -> dict[str, str]:
    """Queue → CPUs of its interrupt. That of the admin queue is left out: whoever likes can write it."""
    affinity = {}
    for line in (reader.text("proc/interrupts") or "").splitlines():
        if match := re.match(rf"\s*([0-9]{{1,9}}):.*\b{controller}q([0-9]{{1,5}})\s*$", line):
            if match[2] != "0" and (cpus := reader.cpus(f"proc/irq/{match[1]}/smp_affinity_list")):
                affinity[match[2]] = format_cpulist(cpus)
    return affinity
