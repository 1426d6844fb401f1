"""What the real tools print in a booted kernel: `python -m tests.tools.real_tools KERNEL > FILE`, as root, on Debian.

KERNEL is the folder of a kernel that has NVMe, device mapper, blktrace and the file systems of sysfs, debugfs and
devtmpfs built in (or as modules that its vmlinuz can load). It is booted in QEMU, with the tools of this machine and
their libraries, and two of QEMU's NVMe controllers. ROWS are done one after the other: what the shell there is told,
and what stands for it in the model. What was printed is kept with them, as the file of `tests/recordings` has it.

    apt-get install qemu-system-x86 busybox-static sysstat nvme-cli blktrace dmsetup fdisk
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tools.verify_kernel import archive, modules

TOOLS = ("lsblk", "iostat", "nvme", "blktrace", "blkparse", "dmsetup", "sfdisk", "dd", "taskset", "blkdiscard", "cat")
DIO = "/real/taskset -c 1 /real/dd if=/dev/{0} of=/dev/null iflag=direct bs={1} count=1 skip={2}"
OUT = "/real/taskset -c {3} /real/dd if=/dev/zero of=/dev/{0} oflag=direct{4} conv=notrunc bs={1} count=1 seek={2}"


def _traced(disk, shell, model):
    return f"traced {disk} {shell}", f"blktrace {disk} {model}"


def _read(disk, length, at, traced=None):
    return _traced(traced or disk, DIO.format(disk, length, at),
                   f"io disk={disk} op=read offset={at * length} length={length} cpu=1")


def _write(disk, length, at, traced=None, cpu=2, flags=""):
    return _traced(traced or disk, OUT.format(disk, length, at, cpu, f",{flags}" if flags else ""),
                   f"io disk={disk} op=write offset={at * length} length={length} cpu={cpu}"
                   + (f" flags={flags}" if flags else ""))


def _file(disk, file, value):
    return f"echo {value} > /sys/block/{disk}/queue/{file}", f"queue_file disk={disk} file={file} value={value}"


def _both(*lines):
    return [(line, line) for line in lines]


LOOKS = _both("lsblk", "nvme list", "nvme list-subsys", "nvme id-ctrl /dev/nvme0", "nvme id-ctrl /dev/nvme1n1")
IOSTAT = ("cat /proc/uptime /proc/diskstats; iostat -x; iostat -dx nvme1n1; iostat -d; cat /proc/uptime", "iostat")
ROWS = [
    *LOOKS, IOSTAT, _read("nvme0n1", 4096, 0), _read("nvme0n1", 65536, 3), _write("nvme0n1", 4096, 5),
    _write("nvme0n1", 4096, 9, cpu=3, flags="dsync"),
    _file("nvme0n1", "max_sectors_kb", 64), _read("nvme0n1", 262144, 1), _write("nvme0n1", 262144, 1),
    _file("nvme0n1", "scheduler", "mq-deadline"), _read("nvme0n1", 4096, 7), _write("nvme0n1", 131072, 2),
    _file("nvme0n1", "scheduler", "none"),
    _traced("nvme0n1", "/real/taskset -c 0 /real/blkdiscard -f -o 1048576 -l 65536 /dev/nvme0n1",
            "discard disk=nvme0n1 offset=1048576 length=65536 cpu=0"),
    ("printf '2048,32768,83\\n34816,65536,83\\n' | sfdisk -q -X dos /dev/nvme0n1",
     "partition disk=nvme0n1 label=mbr parts=2048+32768,34816+65536"),
    _traced("nvme1n1", "/real/taskset -c 1 /real/dd if=/dev/nvme1n1 of=/dev/null bs=4096 count=1 skip=64",
            "buffered disk=nvme1n1 op=read offset=262144 length=4096 cpu=1"),
    ("echo write through > /sys/block/nvme1n1/queue/write_cache",
     "queue_file disk=nvme1n1 file=write_cache value='write through'"),
    _traced("nvme1n1", "/real/taskset -c 2 /real/dd if=/dev/zero of=/dev/nvme1n1 bs=16384 count=1 seek=4 "
            "conv=notrunc,fsync", "buffered disk=nvme1n1 op=write offset=65536 length=16384 cpu=2"),
    *_both("lsblk"), ("grep -r . /sys/block/nvme0n1/", "sysfs /sys/block/nvme0n1"),
    _read("nvme0n1p1", 4096, 2, "nvme0n1"), _write("nvme0n1p2", 4096, 2, "nvme0n1"),
    *_both("dmsetup create lin0 --table '0 2048 linear /dev/nvme1n1 8'",
           "dmsetup create two --uuid LVM-abc --table '0 2048 linear /dev/nvme1n1 4096\n"
           "2048 2048 linear /dev/nvme0n1p1 0'",
           "lsblk"), IOSTAT,
    _read("dm-0", 4096, 2, "nvme1n1"), _read("dm-0", 4096, 3), _read("dm-1", 65536, 0, "nvme1n1"),
    _write("dm-1", 8192, 1, "dm-1"), *_both("dmsetup remove two", "dmsetup remove lin0",
        "dmsetup create paths --table '0 2048 multipath 0 0 1 1 round-robin 0 1 1 /dev/nvme1n1 1'"),
    _read("dm-0", 4096, 1), _write("dm-0", 4096, 1), _write("dm-0", 4096, 2, "nvme1n1"), IOSTAT,
    *_both("lsblk", "nvme list"),
]
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /etc
/bin/busybox --install -s /bin
export PATH=/real:/bin TERM=dumb LC_ALL=C.UTF-8 S_COLORS=never DM_DISABLE_UDEV=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t debugfs debug /sys/kernel/debug; mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp; mkdir -p /dev/mapper /dev/shm; cd /tmp; ulimit -n 1024
for m in MODULES; do insmod /$m.ko; done
traced() {
  d=$1; shift; rm -f t.* told; blktrace -d /dev/$d -o t > /tmp/log 2>&1 & sleep 3
  "$@" > /tmp/done 2>&1 || cat /tmp/done; sleep 1; kill -INT $!; wait $!
  blkparse -q -i t -o told > /dev/null 2>&1; cat told
}
sleep 1
ROWS
echo "@@end"
poweroff -f
"""


def files():
    """What is on the machine beside busybox: the tools and all that they load."""
    found = {"real": b"", "usr": b"", "usr/lib": b"", "usr/lib/locale": b"", "usr/lib/locale/C.utf8": b""}
    found |= {str(path)[1:]: path.read_bytes() if path.is_file() else b""
              for path in sorted(Path("/usr/lib/locale/C.utf8").rglob("*"))}
    for tool in TOOLS:
        path = shutil.which(tool)
        found[f"real/{tool}"] = Path(path).read_bytes()
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            for folder in list(Path(library).parents)[-2::-1]:
                found.setdefault(str(folder)[1:], b"")
            found[library[1:]] = Path(library).read_bytes()
    return found


def boot(kernel, work):
    """Boot, do all rows, and return what was printed."""
    needed = modules(kernel)
    rows = "\n".join(f"echo '@@row {number}'\n{shell}" for number, (shell, _) in enumerate(ROWS))
    init = INIT.replace("MODULES", " ".join(needed)).replace("ROWS", rows)
    (work / "initramfs").write_bytes(archive({
        "bin": b"", "bin/busybox": Path(shutil.which("busybox")).read_bytes(), "init": init.encode(), **files(),
        **{f"{name}.ko": data for name, data in needed.items()}}))
    drives = []
    for number in (0, 1):
        (work / f"disk{number}").write_bytes(b"")
        (work / f"disk{number}").open("r+b").truncate(131072 * 512)
        drives += ["-device", f"nvme,serial={number + 1:04},drive=d{number},addr={number + 4}", "-drive",
                   f"id=d{number},if=none,format=raw,discard=unmap,file={work}/disk{number}"]
    subprocess.run(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                    "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-m", "1024", "-smp", "4",
                    *drives, "-serial", f"file:{work}/said", "-kernel", str(next(kernel.rglob("vmlinuz-*"))), "-initrd",
                    str(work / "initramfs"), "-append", "console=ttyS0 loglevel=1 panic=-1 nokaslr"],
                   check=True, timeout=500, stdin=subprocess.DEVNULL)
    return (work / "said").read_text(errors="replace").replace("\r", "")


def main(kernel):
    with tempfile.TemporaryDirectory() as place:
        while True:
            said = boot(kernel, Path(place))
            if "nvme1n1 259:0" not in said:  # the two are probed at once; mostly the first one is the first
                break
    if "@@end" not in said:
        sys.exit(said)
    outputs = re.split(r"@@row \d+\n", said.split("@@end")[0])[1:]
    rows = [{"shell": shell, "model": model, "output": output}
            for (shell, model), output in zip(ROWS, outputs, strict=True)]
    versions = [subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0] for words in
                (["lsblk", "-V"], ["iostat", "-V"], ["nvme", "version"], ["blkparse", "-V"],
                 ["qemu-system-x86_64", "--version"])]
    release = next(kernel.rglob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    lines = ",\n".join(json.dumps(row) for row in rows)
    print(f'{{"kernel": {json.dumps(release)}, "tools": {json.dumps(versions)}, "rows": [\n{lines}\n]}}')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
