"""`python -m tests.tools.lvm.record`: what the real LVM says and does, with the model's kernel below it; see README.md.

It writes tests/recordings/lvm2-2.03.16.json anew. It must be root, and needs gcc, the package lvm2 and loop
devices that nobody else uses.
"""

import json
import os
import random
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from tests.tools.lvm.machine import machine
from tests.tools.lvm.server import Server

SCENARIOS = Path(__file__).with_name("scenarios.txt")
RECORDED = Path(__file__).parents[2] / "recordings" / "lvm2-2.03.16.json"
SEEDS = range(60)
# behind the node of a volume there is no device, really
NO_DEVICE = re.compile(r"  /dev/.*: open failed: No such device or address|^$")
NO_SYNTAX = "No command with matching syntax recognised."  # and then those that there are, or that are the most like it
MEBIBYTE = 2048  # sectors


def chosen():
    """(sectors of each disk, command lines) of each scenario in scenarios.txt."""
    found: list[tuple[list[int], list[str]]] = []
    for line in SCENARIOS.read_text().splitlines():
        if line.startswith("disks "):
            found.append(([int(sectors) for sectors in line.split()[1:]], []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def words_of(line):
    """What is to be refused (or None), and the words of the command: `[no load] lvextend …`."""
    refused, command = re.fullmatch(r"(?:\[no (\w+)\] )?(.*)", line).groups()
    return refused, shlex.split(command)


def drawn(seed):
    """The same, at random: volumes of all sorts that come, grow, shrink and go."""
    draw = random.Random(seed)
    disks = draw.randint(1, 4)
    sizes = [draw.choice([20, 40, 64, 100, 150, 200]) * MEBIBYTE + draw.choice([0, 0, 0, 100, 5000])
             for _ in range(disks)]
    names = [f"/dev/loop{n}" for n in range(disks)]
    lines = [f"vgcreate {draw.choice(['', '', '-s 1m', '-s 8m', '-s 512k'])} vg0 {' '.join(draw.sample(names, disks))}"]
    volumes: list[str] = []
    for n in range(draw.randint(3, 9)):
        on = " ".join(name + (f":{draw.randint(0, 5)}-{draw.randint(5, 12)}" if draw.random() < 0.4 else "")
                      for name in draw.sample(names, draw.randint(1, disks))) if draw.random() < 0.25 else ""
        most = disks + (draw.random() < 0.1)
        stripes = f"-i {draw.randint(1, most)} {draw.choice(['', '-I 16k', '-I 256k', '-I 2m'])}"
        stripes = stripes if draw.random() < 0.45 else ""
        policy = f"--alloc {draw.choice(['contiguous', 'cling', 'normal', 'anywhere'])}"
        policy = policy if draw.random() < 0.25 else ""
        what = draw.random()
        if what < 0.5 or not volumes:
            size = draw.choice([f"-l {draw.randint(1, 20)}", f"-L {draw.randint(1, 60)}m",
                                f"-l {draw.choice([10, 33, 50, 100])}%FREE", f"-l {draw.choice([10, 30, 100])}%VG",
                                f"-l {draw.choice([20, 50, 100])}%PVS"])
            lines.append(f"lvcreate -y -Wn -Zn {size} {stripes} {policy} -n v{n} vg0 {on}")
            volumes.append(f"v{n}")
        elif what < 0.75:
            size = draw.choice([f"-l +{draw.randint(1, 15)}", f"-L +{draw.randint(1, 40)}m",
                                f"-L {draw.randint(1, 100)}m", "-l +50%FREE", "-l +100%FREE",
                                f"-l +{draw.choice([10, 100])}%LV", "-l 60%VG", "-l 100%PVS"])
            lines.append(f"lvextend -y {size} {stripes if draw.random() < 0.3 else ''} {policy} "
                         f"vg0/{draw.choice(volumes)} {on}")
        elif what < 0.85:
            size = draw.choice(["-l -1", "-L 8m", "-l -3", "-l 50%LV", "-l -10%LV"])
            lines.append(f"lvreduce -y {size} vg0/{draw.choice(volumes)}")
        else:
            lines.append(f"lvremove -y vg0/{draw.choice(volumes)}")
    return sizes, [" ".join(line.split()) for line in lines]


class Recorder:
    """The tools, on loop devices that are made anew for each scenario."""

    def __init__(self, directory):
        self.directory, self.server = Path(directory), Server()
        self.config = (
            "global{use_lvmpolld=0 use_lvmlockd=0 event_activation=0} "
            "activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0} "
            'devices{use_devicesfile=0 filter=["a|/dev/loop|","r|.*|"]} '
            f'backup{{backup=1 backup_dir="{directory}/backup" archive=0}}')

    def scenario(self, sizes, lines):
        """Do the commands on a machine of their own; return what is recorded of it."""
        self.clear()
        self.server.kernel = machine(sizes)
        for n, sectors in enumerate(sizes):
            path = self.directory / f"disk{n}"
            path.write_bytes(b"")
            os.truncate(path, sectors * 512)
            subprocess.run(["losetup", f"/dev/loop{n}", path], check=True)
        return {"disks": sizes, "steps": [self.step(line) for line in lines]}

    def step(self, line):
        """Do a command; return what is recorded of it."""
        self.server.changes = []
        self.server.refused, words = words_of(line)
        run = self.server.run if words[0] == "dmsetup" else self.run
        exit, output, errors = run(words)
        self.server.refused = None
        if NO_SYNTAX in errors:
            output, errors = "", errors.split("\n")[0]
        step = {"command": line, "exit": exit, "output": output,
                "errors": [each for each in errors.splitlines() if not NO_DEVICE.match(each)],
                "changes": self.server.changes, "segments": self.segments()}
        return {key: value for key, value in step.items() if value or key == "exit"}

    def run(self, words):
        """Run one of LVM's commands on these disks alone."""
        return self.server.run([words[0], "--config", self.config, *words[1:]])

    def segments(self):
        """As machine.segments() has it."""
        wanted = "lv_name,seg_start_pe,seg_size_pe,stripe_size,seg_pe_ranges"
        _, output, _ = self.run(["lvs", "--segments", "-o", wanted, "--noheadings", "--separator", ";", "--units", "s",
                                 "--nosuffix"])
        found: dict[str, list] = {}
        for name, first, extents, stripe_size, ranges in (line.strip().split(";") for line in output.splitlines()):
            found.setdefault(name, []).append([int(first), int(extents), int(stripe_size), ranges.split()])
        return found

    def clear(self):
        """Leave nothing of the scenario before."""
        subprocess.run(["losetup", "-D"], check=True)
        subprocess.run("rm -rf /dev/vg0 /dev/my-vg /dev/mapper/vg0-* /dev/mapper/my--vg-*", shell=True, check=True)


def main():
    """Record everything."""
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(directory)
        found = [recorder.scenario(*each) for each in (*chosen(), *map(drawn, SEEDS))]
        recorder.clear()
    version = subprocess.run(["lvm", "version"], capture_output=True, text=True).stdout.split("\n")[0]
    lines = ",\n".join(json.dumps(each) for each in found)
    RECORDED.write_text(f'{{"tool": "{" ".join(version.split())}", "scenarios": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
