"""`make verify-kernel`: boot packaged kernels in QEMU, record their queues, and hold the model against what they did.

For each topology a kernel is booted (software emulation, no root, no network) with NVMe controllers of several sizes,
and null_blk. There is only busybox on it, which loads the drivers with one set of parameters after the other, and
prints the files that `blkmodel capture` reads. Here they become a tree again; `capture --root` makes a recording of it,
and `check` compares. On Debian:

    apt-get install qemu-system-x86 busybox-static
    apt-get download linux-image-6.12.117+deb12-amd64 && dpkg-deb -x linux-image-6.12*.deb KERNEL
    make verify-kernel KERNELS=KERNEL

Nothing is installed: KERNEL is the folder that the package was unpacked into. `--keep DIR` leaves the recordings there.

On the topology of four CPUs there is more:

* the Python that runs this, with what it needs (guest_python.py), runs `blkmodel capture` and `check` inside the booted
  kernel, too. What it captures must be what is captured from outside.
* the kernel's tracer records a read and a write of 4 KiB on NVMe and on null_blk (kernel_calls.py). They stand beside
  what Linux 5.4 calls, function by function. The model is of 5.4, so what differs is said and is no failure; one is
  that a tree does not come to the driver, or not back.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

from blkmodel.capture.check import PASSED, check_file
from blkmodel.capture.reference import VECTORS
from blkmodel.capture.sysfs import capture
from blkmodel.capture.trees import functions
from blkmodel.reference.source import comparable
from blkmodel.view.facts.since import renamed
from tests.tools import guest_python, kernel_calls

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
mount -t devtmpfs dev /dev; mount -t tracefs trace /sys/kernel/tracing
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
inside() { [ -f /inside ] && . /inside && rm /inside; }
for m in MODULES; do insmod /$m.ko; done
while read line; do insmod /nvme.ko $line && look nvme $line && inside; rmmod nvme; done < /nvme.cases
while read line; do insmod /null_blk.ko $line && look null_blk $line; rmmod null_blk; done < /null_blk.cases
[ -f /calls ] && . /calls
echo "@@end"
poweroff -f
"""
SAMPLE = Path(__file__).parents[1] / "recordings/debian/maps/6.12-c8n4.json"
CALLS_ON = "4"
"""The topology on which calls are recorded, too, and blkmodel is run inside."""
CALLS = """
insmod /nvme.ko; insmod /null_blk.ko NULL_BLK; sleep 1
cd /sys/kernel/tracing
echo 0 > tracing_on
for f in ROOTS; do echo $f >> set_graph_function; done
echo function_graph > current_tracer
for o in latency-format funcgraph-irqs funcgraph-proc; do echo 1 > options/$o; done
for o in funcgraph-overhead funcgraph-duration; do echo 0 > options/$o; done
busy() { c=$1; shift; echo > trace; echo 1 > tracing_on; taskset $c dd bs=4k count=1 $*; sleep 1; echo 0 > tracing_on; }
trace() {
  busy MASK if=/dev/$2 of=/dev/null iflag=direct; echo "@@trace $1 read"; cat trace; echo "@@done"
  busy MASK if=/bin/busybox of=/dev/$2 oflag=direct seek=2; echo "@@trace $1 write"; cat trace; echo "@@done"
}
for d in /sys/block/nvme*; do
  case $(cat $d/device/serial) in pairs7*) trace nvme ${d##*/};; esac
done
trace null_blk nullb0
echo "@@names"
awk 'NR == FNR { n[$1]; next } { split($1, p, "."); if (p[1] in n) print p[1] }' /names available_filter_functions
echo "@@done"
"""
INSIDE = """
echo "@@inside"
PYTHONPATH=PACKAGE PYTHON -S -B -m blkmodel capture -o /mine.json; cat /mine.json
echo "@@checked"
PYTHONPATH=PACKAGE PYTHON -S -B -m blkmodel check -v /mine.json
echo "@@done"
"""


def archive(files):
    """An initramfs of these files, path → bytes, and the directories that they are in: a cpio archive."""
    out = bytearray()
    above = {str(folder): b"" for path in files for folder in reversed(Path(path).parents[:-1])}
    for number, (path, data) in enumerate([*above.items(), *files.items(), ("TRAILER!!!", b"")], 1):
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


def initramfs(kernel, more):
    busybox, needed = Path(shutil.which("busybox")).read_bytes(), modules(kernel)
    cases = {f"{driver}.cases": "\n".join([*lines, ""]).encode() for driver, lines in CASES.items()}
    init = INIT.replace("MODULES", " ".join(name for name in needed if name not in CASES)).encode()
    return archive({"bin/busybox": busybox, "init": init, **cases, **more,
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


def more(name, sample):
    """The files that a boot of CALLS_ON has besides: what records calls; and blkmodel, if this Python can be packed."""
    if name != CALLS_ON:
        return {}
    null_blk = " ".join(f"{parameter}={value}" for parameter, value in kernel_calls.PARAMETERS["null_blk"].items())
    calls = CALLS.replace("NULL_BLK", null_blk).replace("ROOTS", " ".join(kernel_calls.ROOTS)).replace(
        "MASK", f"{1 << kernel_calls.CPU:x}")
    files = {"calls": calls.encode(), "names": "\n".join([*sorted(comparable()), ""]).encode()}
    if guest_python.why_not():
        return files
    inside = INSIDE.replace("PACKAGE", str(guest_python.PACKAGE)).replace("PYTHON ", f"{guest_python.EXECUTABLE} ")
    return {**files, "inside": inside.encode(), **guest_python.files(sample)}


def boot(kernel, topology, work, seconds, files):
    """Boot, and return what was printed: not all, where the kernel or QEMU itself gave up, or said nothing for so many
    seconds. How long a boot takes in all is no sign: on a busy machine each goes on, slowly."""
    (work / "initramfs").write_bytes(initramfs(kernel, files))
    said = work / "said"
    said.write_bytes(b"")
    heard, since = 0, time.monotonic()
    with subprocess.Popen(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                           *machine(**topology), "-serial", f"file:{said}", "-kernel",
                           str(next(kernel.rglob("vmlinuz-*"))), "-initrd", str(work / "initramfs"), "-append",
                           "console=ttyS0 loglevel=1 panic=-1 nokaslr"], stdin=subprocess.DEVNULL) as qemu:
        try:
            while qemu.poll() is None and time.monotonic() - since < seconds:
                with suppress(subprocess.TimeoutExpired):
                    qemu.wait(1)
                if said.stat().st_size != heard:
                    heard, since = said.stat().st_size, time.monotonic()
        finally:
            qemu.kill()
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
                case["device"]["vectors"] = VECTORS
        whole = {**one, "cases": [*whole.get("cases", ()), *one["cases"]]}
    return whole


def _number(path):
    return [int(number) for number in re.findall("[0-9]+", path.name)]


def inside(said, release, work):
    """What `blkmodel capture` and `check` made of the first case inside the booted kernel: what is wrong with it, and
    what to say. recording() has left in `work` what is captured from outside. Only who is inside can read how many
    vectors a device has."""
    if "@@inside" not in said:
        return [], "blkmodel did not run inside: " + (guest_python.why_not() or "the kernel printed nothing of it")
    made, _, checked = said.split("@@inside\n")[1].split("@@done")[0].partition("@@checked\n")
    lines = checked.splitlines()
    wrong = [] if "1 passed, 0 failed" in lines else [f"check inside: {line}" for line in lines or ["it says nothing"]]
    try:
        found = json.loads(made)
    except ValueError:
        return [f"capture inside: {line}" for line in made.splitlines()], "blkmodel failed inside"
    vectors = {case["device"].pop("vectors", None) for case in found["cases"]}
    if vectors != {VECTORS}:
        wrong.append(f"capture inside: the devices have {vectors} vectors")
    if found != capture(work / "root0", release)[0]:
        wrong.append("capture inside and from outside differ")
    return wrong, (f"blkmodel inside the kernel: capture {'differs from' if wrong else 'is'} that from outside; check: "
                   + "".join(lines[:1]).partition(": ")[2])


def renamed_by(release, names):
    """Function of 5.4 → what it is called in that release, for those of these that are known to be called otherwise."""
    until = [int(number) for number in release.split(".")[:2]]
    chains = {name: [each.now for each in renamed(name) if [*map(int, each.since.split("."))] <= until]
              for name in names}
    return {name: chain[-1] for name, chain in chains.items() if chain}


def calls(said, release, keep, verbose):
    """Set the call trees of what was printed beside 5.4's. Yields what is wrong, and what to say."""
    has = set(said.partition("@@names\n")[2].partition("@@done")[0].split())
    documents = list(kernel_calls.documents(said, release))
    if len(documents) != 2 * len(CASES):
        yield [f"{len(documents)} of {2 * len(CASES)} call trees were recorded"], "no call trees"
    for document in documents:
        name = document["scenario"]["name"]
        if keep:
            (keep / f"{release}-{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        missing = [f"{name}: no {wanted} in its trees" for wanted in kernel_calls.reached(document)]
        ours = kernel_calls.of_model(document)
        later = renamed_by(release, functions(ours))
        lines = kernel_calls.compared(kernel_calls.of_kernel(document), ours, has, later)
        shown = lines if verbose and not missing else ()
        yield missing, "\n    ".join([f"{name}: {kernel_calls.summary(lines)}", *shown])


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.tools.verify_kernel", description=__doc__.split("\n")[0])
    parser.add_argument("kernels", nargs="+", type=Path, metavar="KERNEL", help="folder of an unpacked linux-image")
    parser.add_argument("--only", action="append", choices=TOPOLOGIES, help="this topology (default: all)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the recordings there")
    parser.add_argument("--seconds", type=int, default=600, help="that a kernel may say nothing (default: 600)")
    parser.add_argument("--brief", action="store_true", help="of the call trees only how many functions differ")
    options = parser.parse_args()
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static")):
        if not shutil.which(program):
            parser.error(f"there is no {program}; on Debian: apt-get install {package}")
    for kernel in options.kernels:
        if not list(kernel.rglob("vmlinuz-*")):
            parser.error(f"{kernel}: expected the folder that a package linux-image-... was unpacked into")
    began, failed, numbers = time.monotonic(), 0, []
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    todo = [(kernel, name) for kernel in options.kernels for name in options.only or TOPOLOGIES]
    print(f"{len(todo)} boots, one after the other; each takes about a minute, with '{CALLS_ON}' CPUs two", flush=True)
    for number, (kernel, name) in enumerate(todo, 1):
        release = next(kernel.rglob("vmlinuz-*")).name.removeprefix("vmlinuz-")
        print(f"[{number}/{len(todo)}] {release}, {name} CPUs: booting", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            files = more(name, SAMPLE)
            for _ in range(3):  # a kernel that gets too little time may find no timer that ticks, and give up
                if "@@end" in (said := boot(kernel, TOPOLOGIES[name], work, options.seconds, files)):
                    break
            found = recording(said, release, work)
            file = (options.keep or work) / f"{release}-{re.sub('[^0-9a-z]+', '-', name)}.json"
            file.write_text(re.sub(r'(\{"driver")', r"\n\1", json.dumps(found, separators=(",", ":"))) + "\n")
            outcome = check_file(file)
            more_said = [inside(said, release, work), *calls(said, release, options.keep, not options.brief)
                         ] if name == CALLS_ON else []
        ended = [] if "@@end" in said else [f"the kernel did not come to an end: {said.strip()[-200:]!r}"]
        wrong = [*ended, *outcome.differences[:5], *(line for lines, _ in more_said for line in lines)]
        failed += outcome.result != PASSED or bool(wrong)
        numbers.append(outcome.facts.get("passed", 0))
        print(f"    {outcome.result}: {outcome.summary} ({time.monotonic() - start:.0f} s)", flush=True)
        for line in (*(said for _, said in more_said), *(f"WRONG: {line}" for line in wrong)):
            print(f"    {line}", flush=True)
    if any(name == CALLS_ON for _, name in todo):
        print("The call trees are beside those of Linux 5.4, which the model is of: what differs there is no failure.")
    print(f"{len(todo) - failed} of {len(todo)} boots agree, {sum(numbers)} cases; "
          f"{(time.monotonic() - began) / 60:.0f} minutes")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
