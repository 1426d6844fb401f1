"""`make verify-kernel`: boot packaged kernels in QEMU, record their queues, and hold the model against what they did.

For each topology a kernel is booted (software emulation, no root, no network) with NVMe controllers of several sizes,
and null_blk. There is only busybox on it, which loads the drivers with one set of parameters after the other, and
prints the files that `blkmodel capture` reads. Here they become a tree again; `capture` makes a recording of it, and
`check` compares. On Debian:

    apt-get install qemu-system-x86 busybox-static
    apt-get download linux-image-6.12.117+deb12-amd64 && dpkg-deb -x linux-image-6.12*.deb KERNEL
    make verify-kernel KERNELS=KERNEL

Nothing is installed: KERNEL is the folder that the package was unpacked into. `--keep DIR` leaves the recordings there.
"""

import argparse
import json
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from blkmodel.capture.check import PASSED, check_file
from blkmodel.capture.sysfs import capture

ALSO = ("crc64_rocksoft_generic", "crct10dif_generic")
"""Modules that others ask for by what they can, and not by name."""
CASES = {
    "nvme": ("write_queues=0 poll_queues=0", "write_queues=2 poll_queues=1", "write_queues=0 poll_queues=3",
             "write_queues=1 poll_queues=0 io_queue_depth=64"),
    "null_blk": ("submit_queues=1", "submit_queues=3", "submit_queues=5 hw_queue_depth=16", "use_per_node_hctx=1",
                 "submit_queues=2 poll_queues=3", "submit_queues=4 poll_queues=0 shared_tags=1 nr_devices=2"),
}
"""Driver → the parameters that it is loaded with, one set after the other. What a kernel refuses is not recorded."""
PAIRS = (1, 2, 3, 4, 5, 7)
TOPOLOGIES = {
    "1": {"cpus": 1}, "2": {"cpus": 2}, "4": {"cpus": 4}, "3 of 8": {"cpus": 3, "possible": 8},
    "8, 2 threads": {"cpus": 8, "threads": 2}, "8, 2 nodes": {"cpus": 8, "nodes": ["0-3", "4-7"]},
    "9, 3 equal nodes": {"cpus": 9, "nodes": ["0-2", "3-5", "6-8"]},
    "8, 4 equal nodes": {"cpus": 8, "nodes": ["0-1", "2-3", "4-5", "6-7"]},
    "5 of 6, 2 nodes": {"cpus": 5, "possible": 6, "nodes": ["0-2", "3-5"]},
    "4 of 5, 2 nodes": {"cpus": 4, "possible": 5, "nodes": ["0-1", "2-4"]},
    "10, 3 uneven nodes, 2 threads": {"cpus": 10, "threads": 2, "nodes": ["0-5", "6-7", "8-9"]},
    "12, 4 nodes, threads": {"cpus": 12, "threads": 2, "nodes": ["0-1", "2-3", "4-7", "8-11"]},
    "6 of 12, 3 nodes": {"cpus": 6, "possible": 12, "nodes": ["0-1", "2-3", "4-11"]},
}
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /bin /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t debugfs debug /sys/kernel/debug
show() { for f in "$@"; do [ -f "$f" ] && echo "@@file $f" && cat "$f"; done; }
look() {
  sleep 1
  echo "@@case $*"
  show /sys/devices/system/cpu/possible /sys/devices/system/cpu/present /sys/devices/system/cpu/online
  show /sys/devices/system/node/node*/cpulist /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list
  show /sys/module/nvme/parameters/*_queues /sys/module/nvme/parameters/io_queue_depth
  show /sys/module/null_blk/parameters/* /sys/class/nvme/nvme*/queue_count /sys/class/nvme/nvme*/serial
  for d in /sys/block/nvme* /sys/block/nullb*; do
    [ -d $d ] || continue; b=/sys/kernel/debug/block/${d##*/}
    show $d/queue/nr_requests $d/queue/scheduler $d/mq/*/* $b/hctx*/type $b/hctx0/tags
  done
  show /proc/interrupts /proc/irq/[0-9]*/smp_affinity_list
  echo "@@done"
}
for m in MODULES; do insmod /$m.ko; done
while read line; do insmod /nvme.ko $line && look nvme $line; rmmod nvme; done < /nvme.cases
while read line; do insmod /null_blk.ko $line && look null_blk $line; rmmod null_blk; done < /null_blk.cases
echo "@@end"
poweroff -f
"""


def archive(files):
    """An initramfs of these files, path → bytes: a cpio archive; one without bytes is a directory."""
    out = bytearray()
    for number, (path, data) in enumerate([*files.items(), ("TRAILER!!!", b"")], 1):
        name = path.encode() + b"\0"
        mode = 0o100755 if data else 0o40755
        out += b"070701" + b"".join(b"%08X" % each for each in (
            number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)) + name
        out += bytes(-len(out) % 4)
        out += data + bytes(-len(data) % 4)
    return bytes(out)


def modules(kernel):
    """Name → module, unpacked: the drivers' and what they need, in the order in which they are to be loaded."""
    paths = {path.name.split(".ko")[0].replace("-", "_"): path for path in kernel.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def need(name):
        if name in found or name not in paths:
            return
        data = paths[name].read_bytes()
        data = lzma.decompress(data) if paths[name].suffix == ".xz" else data
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends else ():
            need(other.replace("-", "_"))
        found[name] = data
    for name in (*ALSO, *CASES):
        need(name)
    return found


def initramfs(kernel):
    busybox, needed = Path(shutil.which("busybox") or "/bin/busybox").read_bytes(), modules(kernel)
    cases = {f"{driver}.cases": "\n".join([*lines, ""]).encode() for driver, lines in CASES.items()}
    init = INIT.replace("MODULES", " ".join(name for name in needed if name not in CASES)).encode()
    return archive({"bin": b"", "bin/busybox": busybox, "init": init, **cases,
                    **{f"{name}.ko": data for name, data in needed.items()}})


def machine(cpus, possible=None, threads=1, nodes=()):
    """QEMU's words for a machine: `possible` CPUs of which `cpus` are there, on nodes that are lists of CPUs."""
    most = possible or cpus
    words = ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-m", f"{256 * (len(nodes) or 1)}",
             "-smp", f"{cpus},maxcpus={most},sockets=1,cores={most // threads},threads={threads}"]
    for number, members in enumerate(nodes):
        words += ["-object", f"memory-backend-ram,id=m{number},size=256M",
                  "-numa", f"node,nodeid={number},memdev=m{number},cpus={members}"]
    for pairs in PAIRS:
        words += ["-device", f"nvme,serial=pairs{pairs},max_ioqpairs={pairs},drive=d{pairs}", "-drive",
                  f"id=d{pairs},if=none,format=raw,file.driver=null-co,file.read-zeroes=on,file.size=64M"]
    return words


def boot(kernel, topology, work, seconds):
    """Boot, and return what was printed."""
    (work / "initramfs").write_bytes(initramfs(kernel))
    said = work / "said"
    subprocess.run(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                    *machine(**topology), "-serial", f"file:{said}", "-kernel", str(next(kernel.rglob("vmlinuz-*"))),
                    "-initrd", str(work / "initramfs"), "-append", "console=ttyS0 loglevel=1 panic=-1 nokaslr"],
                   check=True, timeout=seconds, stdin=subprocess.DEVNULL)
    return said.read_text(errors="replace").replace("\r", "")


def trees(said):
    """The files of each case: path → text."""
    for part in said.split("@@end")[0].split("@@case ")[1:]:
        files = {}
        for piece in part.split("@@done")[0].split("@@file /")[1:]:
            path, _, text = piece.partition("\n")
            files[path] = text
        yield files


def recording(said, release, work):
    """What was printed as a recording of all cases."""
    whole: dict[str, Any] = {}
    for number, files in enumerate(trees(said)):
        root = work / f"root{number}"
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        one, _ = capture(root, release)
        for case, disk in zip(one["cases"], sorted((root / "sys/block").iterdir(), key=_number), strict=True):
            if case["driver"] == "nvme":
                controller = re.match("nvme[0-9]+", disk.name)[0]
                case["device"]["max_ioqpairs"] = int((root / f"sys/class/nvme/{controller}/serial").read_text()[5:])
                case["device"]["vectors"] = 65
        whole = {**one, "cases": [*whole.get("cases", ()), *one["cases"]]}
    return whole


def _number(path):
    return [int(number) for number in re.findall("[0-9]+", path.name)]


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.tools.verify_kernel", description=__doc__.split("\n")[0])
    parser.add_argument("kernels", nargs="+", type=Path, metavar="KERNEL", help="folder of an unpacked linux-image")
    parser.add_argument("--only", action="append", choices=TOPOLOGIES, help="this topology (default: all)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the recordings there")
    parser.add_argument("--seconds", type=int, default=180, help="that a boot may take (default: 180)")
    options = parser.parse_args()
    failed = 0
    for kernel in options.kernels:
        release = next(kernel.rglob("vmlinuz-*")).name.removeprefix("vmlinuz-")
        for name in options.only or TOPOLOGIES:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as place:
                work = Path(place)
                for _ in range(3):  # a kernel that gets too little time may find no timer that ticks, and give up
                    if "@@end" in (said := boot(kernel, TOPOLOGIES[name], work, options.seconds)):
                        break
                found = recording(said, release, work)
                file = (options.keep or work) / f"{release}-{re.sub('[^0-9a-z]+', '-', name)}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(re.sub(r'(\{"driver")', r"\n\1", json.dumps(found, separators=(",", ":"))) + "\n")
                outcome = check_file(file)
            failed += outcome.result != PASSED
            took = f"{time.monotonic() - began:.0f} s"
            print(f"{release}, {name} CPUs: {outcome.result}: {outcome.summary} ({took})", flush=True)
            for line in outcome.differences[:5]:
                print(f"    {line}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
