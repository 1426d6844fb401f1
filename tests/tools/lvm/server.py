"""A kernel of the model that answers the device mapper ioctls of real tools, and notes what they change.

The tools run with control.c in LD_PRELOAD, which sends it their ioctls.
"""

import os
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from blkmodel.drivers.md import dm, dm_ioctl
from blkmodel.include.linux import dm_ioctl as uapi
from blkmodel.services.base.err import ENOMEM
from blkmodel.services.files.file import file

KINDS = {uapi.DM_DEV_CREATE_CMD: "create", uapi.DM_TABLE_LOAD_CMD: "load", uapi.DM_DEV_SUSPEND_CMD: "resume",
         uapi.DM_DEV_REMOVE_CMD: "remove", uapi.DM_DEV_RENAME_CMD: "rename", uapi.DM_TABLE_CLEAR_CMD: "clear"}


def kind_of(number, asked):
    """What an ioctl changes, or None."""
    head = uapi.dm_ioctl()
    uapi.read_head(asked, head)
    kind = KINDS.get(number)
    return "suspend" if kind == "resume" and head.flags & uapi.DM_SUSPEND_FLAG else kind


class Server:
    """Answers for one kernel at a time. changes: [what, device] of each ioctl that changed something, in order.

    Of a load there is also the table, line by line. refused: what the kernel has no memory for.
    """

    def __init__(self):
        self.kernel: Any = None
        self.refused: str | None = None
        self.changes: list[list] = []
        self._lock = threading.Lock()
        self._dir = Path(tempfile.mkdtemp())
        self._library = self._dir / "control.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", self._library,
                        Path(__file__).with_name("control.c"), "-ldl"], check=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._dir / "socket"))
        self._socket.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def run(self, words):
        """Run a tool to its end, and return (exit status, standard output, standard error)."""
        more = {"LD_PRELOAD": str(self._library), "DM_SOCKET": str(self._dir / "socket"),
                "DM_MAJOR": str(dm.variables()._major), "DM_DISABLE_UDEV": "1", "LVM_SUPPRESS_FD_WARNINGS": "1",
                "LC_ALL": "C"}
        done = subprocess.run(words, env={**os.environ, **more}, capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def _accept(self):
        while True:
            process, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(process,), daemon=True).start()

    def _serve(self, process):
        opened = file()
        with process, process.makefile("rwb") as stream:
            while head := stream.read(8):
                command, size = struct.unpack("<II", head)
                block = bytearray(stream.read(size))
                asked, kind = bytes(block), kind_of(uapi._IOC_NR(command), block)
                with self._lock, self.kernel:
                    result = -ENOMEM
                    if kind is None or kind != self.refused:
                        result = self.kernel.task("tool", dm_ioctl.dm_ctl_ioctl, opened, command, block)
                    if not result and kind is not None:
                        self._note(kind, asked, block)
                stream.write(struct.pack("<i", result) + bytes(block))
                stream.flush()

    def _note(self, kind, asked, answered):
        question, answer = uapi.dm_ioctl(), uapi.dm_ioctl()
        uapi.read_head(asked, question)
        uapi.read_head(answered, answer)
        self.changes.append([kind, answer.name or question.name])
        if kind == "load":
            self.changes[-1].append(_table(asked, question))


def _table(block, head):
    """The lines of the table that a load has."""
    lines, at = [], head.data_start
    for _ in range(head.target_count):
        start, length, _status, size, kind = uapi.TARGET_SPEC.unpack_from(block, at)
        lines.append(f"{start} {length} {uapi.text_of(kind)} {uapi.string_at(block, at + uapi.TARGET_SPEC.size)}")
        at += size
    return lines
