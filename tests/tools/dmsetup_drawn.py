"""`python -m tests.tools.dmsetup_drawn`: what the real dmsetup says to commands that are drawn, good ones and bad ones.

It runs on a kernel of the model, as LVM's tools do for tests/tools/lvm (see the README there), as root, with Debian's
dmsetup and gcc. It writes dmsetup-drawn.json anew, and tests/userland/test_dmsetup.py holds the model to it.
"""

import json
import random
import subprocess
from itertools import takewhile
from pathlib import Path

from tests.tools.lvm.machine import machine
from tests.tools.lvm.server import Server

RECORDED = Path(__file__).parents[1] / "userland" / "dmsetup-drawn.json"
SEEDS, COMMANDS = range(40), 15
DISKS = [131072, 65536]
# what is left out: its help, nodes that are not there in truth, and reading ahead, which is asked of these
HELP, NODE, READ_AHEAD = "Usage:", "open failed: No such ", "Read Ahead:"

NAMES = ["a", "b", "c", "a", "b", "c", "a b", "", "nosuch", "/dev/mapper/a", "x" * 130, "a/b", "dm-0"]
NUMBERS = ["0", "1", "2", "3", "8", "16", "128", "2048", "4096", "-1", "+1", "0x10", "010", "4294967295", "4294967296",
           "18446744073709551615", "18446744073709551616", "1.5", "1k", "", "abc", "7", "1:2", "131064", "70000"]
DEVICES = ["/dev/loop0", "/dev/loop1", "7:0", "7:1", "7:9", "/dev/nosuch", "7:0x", "loop0", "254:0", "4096:1",
           "1:1048576"]
WORDS = ["queue_if_no_path", "retain_attached_hw_handler", "pg_init_retries", "pg_init_delay_msecs", "queue_mode",
         "bio", "rq", "mq", "round-robin", "service-time", "queue-length", "drop_writes", "error_writes",
         "corrupt_bio_byte", "r", "w", "alua"]
TARGETS = [
    "linear 7:0 0", "striped 2 128 7:0 0 /dev/loop1 0", "striped 3 8 7:0 0 7:1 0 7:0 9000", "zero", "error",
    "delay 7:0 0 10", "delay 7:0 0 10 7:1 8 20", "flakey 7:0 0 1 1", "flakey 7:0 0 1 1 1 drop_writes",
    "flakey 7:0 0 1 1 5 corrupt_bio_byte 32 r 1 0", "multipath 0 0 1 1 round-robin 0 2 1 7:0 1 7:1 1",
    "multipath 1 queue_if_no_path 0 2 1 service-time 0 1 2 7:0 1 1 round-robin 0 1 0 7:1",
    "multipath 3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 0 7:0", "snapshot 7:0 7:1 P 8"]
MESSAGES = ["fail_path 7:0", "reinstate_path 7:1", "queue_if_no_path", "fail_if_no_path", "switch_group 1",
            "disable_group 9", "@cancel_deferred_remove", "foo", "switch_group 1 2"]
OPTIONS = [["-v"], ["--noflush"], ["--readonly"], ["-u", "u"], ["--inactive"], ["--nolockfs"], ["--force"], ["--retry"],
           ["--deferred"], ["--noopencount"], ["--bogus"], ["-q"], ["-m", "7"], ["--major", "254", "--minor", "1"],
           ["--notable"], ["--target", "linear"], ["--re"], ["--addnodeonresume"], ["--addnodeoncreate"], ["--table"]]


def drawn(seed):
    """The words of some commands in a row."""
    return [_command(random.Random(seed * 100 + n)) for n in range(COMMANDS)]


def _command(draw):
    name, lines = draw.choice(NAMES), table(draw)
    number = [draw.choice(NUMBERS) for _ in range(4)]
    words = draw.choices([
        ["create", name, "--table", lines], ["create", name, "--table", "0 2048 linear 7:0 0"],
        ["create", name, "--notable"], ["load", name, "--table", lines], ["resume", name], ["suspend", name],
        ["message", name, number[0], *_changed(draw, draw.choice(MESSAGES).split())], ["remove", name],
        ["rename", name, draw.choice(NAMES)], ["rename", name, "--setuuid", draw.choice(NAMES)], ["clear", name],
        ["setgeometry", name, *number], ["remove_all"], ["wipe_table", name],
        [draw.choice(["table", "status", "info", "deps", "target-version"]), name],
        [draw.choice(["table", "status", "info", "deps", "ls", "targets", "version", "nosuch"])]],
        [8, 3, 2, 4, 3, 2, 3, 2, 2, 1, 1, 1, 1, 1, 4, 4])[0]
    if draw.random() < 0.3:
        at = draw.choice([0, 1, len(words)])
        words[at:at] = draw.choice(OPTIONS)
    if draw.random() < 0.05:
        words.pop()
    return words


def table(draw):
    """A table that may be a good one."""
    lines, start = [], 0
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        length = draw.choice([8, 16, 2048, 2048, 4096, 384, 131072, 0, 7, (1 << 64) - 8])
        begin = start if draw.random() < 0.9 else draw.choice([0, 1, 8, (1 << 64) - 1])
        lines.append(f"{begin} {length} {' '.join(_changed(draw, draw.choice(TARGETS).split()))}")
        start = (start + length) % (1 << 64)
    return "\n".join(lines)


def _changed(draw, words):
    """Some words with up to three changes: another word, one more, one less."""
    for _ in range(draw.choice([0, 0, 1, 1, 1, 2, 3])):
        at = draw.randrange(len(words) + 1)
        word = [draw.choice(draw.choice([NUMBERS, NUMBERS, DEVICES, WORDS]))]
        words[at:at + draw.choice([0, 1, 1, 1])] = word if draw.random() < 0.8 else []
    return words


def said(exit, output, errors):
    """What is compared of what a process leaves behind."""
    lines = takewhile(lambda line: not line.startswith(HELP), errors)
    return [exit, "".join(line for line in output.splitlines(True) if not line.startswith(READ_AHEAD)),
            [line for line in lines if NODE not in line]]


def main():
    server, found = Server(), []
    for seed in SEEDS:
        subprocess.run("rm -f /dev/mapper/[abcnx]*", shell=True, check=True)
        server.kernel = machine(DISKS)
        for words in drawn(seed):
            exit, output, errors = server.run(["dmsetup", *words])
            found.append(said(exit, output, errors.splitlines()))
    lines = ",\n".join(json.dumps(each) for each in found)
    RECORDED.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
