"""A walk at random over what a scenario offers: disks come and go, are read and written, mapped, reset, resized and
made to fail, with memory or without. After every step the data are right, nothing is in flight, all tags are free, and
nobody has met an exception that the package's face does not have. After the last one everything is removed, and nothing
is left behind.

`BLKMODEL_WALKS=200 pytest tests/test_walk.py` walks longer; a walk that fails says its seed and its steps.
"""

import os
import random

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import FAIL, FATAL, GONE, SILENT, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.include.linux.genhd import dev_to_disk, disk_devt, get_capacity
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM, ENXIO, EOPNOTSUPP
from blkmodel.services.base.kdev_t import format_dev_t
from blkmodel.services.devices.device import devices
from blkmodel.sim.events import HungTask
from blkmodel.sim.kernel import Context
from tests.invariants import bios_watched, content, queue_at_rest, tags_watched
from tests.leaks import drawn

WALKS, STEPS = int(os.environ.get("BLKMODEL_WALKS", "4")), 40
SECTORS = 1024
FILES: dict[str, list] = {
    "max_sectors_kb": [4, 8, 64, 512], "nomerges": [0, 1, 2], "rq_affinity": [0, 1, 2], "nr_requests": [4, 16, 128],
    "scheduler": ["none", "mq-deadline", "kyber", "none\n"], "io_poll_delay": [-1, 0, 4],
    "io_timeout": [1000, 30000], "write_cache": ["write through", "write back"]}
MOST_OPEN = 3


class Walk:
    """One walk. may: (medium, sector) → what may be there. trouble: whether I/O may fail from now on: a controller is
    broken, or memory was short. short: how often memory was."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.kernel = boot(self.draw.randint(1, 4), seed)
        self.paths = self.draw.random() < .3
        self.may = {}
        self.serial = self.short = 0
        self.trouble = self.kept = False
        self.media = {}
        self.steps = []
        self.controllers = {}
        self.short_now = False
        self.kinds = {name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")}

    # What there is.

    def disks(self):
        return {dev_to_disk(dev).disk_name: dev_to_disk(dev) for dev in devices().of_class.get("block", ())}

    def disk(self):
        return self.draw.choice(sorted(self.disks()) or ["nvme0n1"])

    def mapped(self):
        """Name → mapped device: its live table by lines, and whether I/O has to wait at it."""
        if "dm_mod" not in scenario.modules().loaded:
            return {}
        tables: dict = {}
        found: dict = {}
        memory, doomed = self.kernel.memory, self.kernel.memory._doomed
        memory.fail_never()  # for who only looks
        for line in self.tool("table").output.splitlines():
            name, _, target = line.partition(": ")
            tables.setdefault(name, []).append(target.strip())
        for line in self.tool("ls").output.splitlines():
            if "\t" in line:
                name, number = line.split("\t")
                info = self.tool("info", name).output
                live = [each for each in tables.get(name, []) if each]
                waits = any("queue_if_no_path" in line for line in live) and " F " in self.tool("status", name).output
                found[name] = f"dm-{number.strip('()').split(':')[1]}", live, waits or "SUSPENDED" in info
        memory._doomed = doomed
        return found

    def tool(self, *words):
        return scenario.dmsetup_run(*words)

    def suspended(self):
        """The disks at which I/O would wait: mapped devices that are suspended or without path, and those above."""
        mapped = self.mapped()
        found: set = set()
        for _ in mapped:
            for disk, lines, suspended in mapped.values():
                numbers = {format_dev_t(disk_devt(self.disks()[each])) for each in found if each in self.disks()}
                if suspended or any(word in numbers for line in lines for word in line.split()):
                    found.add(disk)
        return found

    def present(self):
        """The controllers that the driver has not given up."""
        there = {dev.kobj.name for dev in devices().of_class.get("nvme", ())}
        return {name: controller for name, controller in self.controllers.items() if name in there}

    def medium(self, disk):
        """What keeps a disk's data, which outlasts its name."""
        for name, controller in self.present().items():
            for ns in scenario.nvme_controller(name).ctrl.namespaces:
                if ns.disk is not None and ns.disk.disk_name == disk:
                    return controller.serial, ns.head.ns_id
        return self.media.get(disk)

    def places(self, disk, sector, count):
        """(medium, sector) of each sector, or a word for what is none: zero, or whatever fails."""
        disks = self.disks()
        if disk not in disks:
            return ["fails"] * count
        if not disk.startswith("dm-"):
            return [(self.medium(disk), at) for at in range(sector, sector + count)]
        by_number = {format_dev_t(disk_devt(gendisk)): name for name, gendisk in disks.items()}
        lines: list = next((lines for name, lines, _ in self.mapped().values() if name == disk), [])
        found = []
        for at in range(sector, sector + count):
            place = "fails"
            for line in lines:
                start, length, kind, *params = line.split()
                offset = at - int(start)
                if 0 <= offset < int(length):
                    if kind in ("linear", "delay", "flakey"):
                        place = self.places(by_number.get(params[0], ""), int(params[1]) + offset, 1)[0]
                    elif kind == "striped":
                        stripes, chunk = int(params[0]), int(params[1])
                        row, within = divmod(offset, chunk)
                        which, first = params[2 + 2 * (row % stripes):][:2]
                        to = int(first) + row // stripes * chunk + within
                        place = self.places(by_number.get(which, ""), to, 1)[0]
                    elif kind == "multipath":
                        path = next(word for word in params if ":" in word)
                        place = self.places(by_number.get(path, ""), offset, 1)[0]
                    elif kind == "zero":
                        place = "zero"
            found.append(place)
        return found

    # I/O.

    def do_io(self):
        jobs: list = []
        asked = []
        quiet = self.suspended()
        names = [name for name in sorted(self.disks()) if name not in quiet]
        if not names:
            return "no disk"
        for _ in range(self.draw.choice([1, 1, 2, 3])):
            disk = self.draw.choice(names)
            capacity = get_capacity(self.disks()[disk])
            wanted = []
            for _ in range(self.draw.choice([1, 1, 2, 5])):
                count = min(self.draw.choice([1, 1, 8, 8, 17, 64, 300]), capacity)
                if not count:
                    continue
                sector = self.draw.choice([self.draw.randint(0, 40), self.draw.randint(0, capacity)])
                sector = min(sector, capacity - count)
                op = self.draw.choice(["read", "write"])
                each: dict = {"op": op, "offset": sector * 512, "length": count * 512}
                if op == "write":
                    self.serial += 1
                    each["data"] = content(sector, count, self.serial)
                if op == "write" and self.draw.random() < .2:
                    each["flags"] = ["dsync"]
                if op == "read" and self.draw.random() < .1:
                    each["flags"] = ["hipri"]
                wanted.append(each)
                asked.append((disk, sector, count, op, each.get("data"), self.places(disk, sector, count)))
            if wanted:
                jobs.append((disk, wanted, self.draw.choice(sorted(self.kernel.online))))
        # while a task waits for a tag or a frozen queue, another that waits for it would be above it on the one stack
        alone = sum(len(wanted) for _, wanted, _ in jobs) == 1 and jobs[0][1][0]["length"] <= 4096
        meanwhile = self.draw.choice([None, "file", "reset", "rescan"]) if alone and not self.short_now else None
        if meanwhile:
            self.kernel.loop.post(Context("task", "meanwhile", 0), self.kinds[meanwhile],
                                  self.draw.choice([500, 2000]))
        for *_, data, places in asked:
            for n, place in enumerate(places if data else ()):
                self.at(place).add(data[n * 512:n * 512 + 512])
        steps = [{"step": ["aio", {"disk": disk, "wanted": wanted, "cpu": cpu}]} for disk, wanted, cpu in jobs]
        results = [each for found in scenario.together(steps) for each in found]
        self.kernel.loop.advance(2000)
        last: dict = {}
        for (disk, sector, count, op, data, places), result in zip(asked, results, strict=True):
            if isinstance(result, KernelError):
                assert self.trouble or self.shaky or "fails" in places, (disk, op, sector, count, result)
                continue
            if self.shaky and len(result) < count * 512:
                continue  # the disk has no sectors any more
            if op == "read":
                assert len(result) == count * 512
                for n, place in enumerate(places):
                    assert place != "fails" or self.shaky, (disk, sector + n)
                    got = result[n * 512:n * 512 + 512]
                    assert got in self.at(place) or place == "fails", (disk, sector + n, place, got[:16])
            else:
                for n, place in enumerate(places):
                    last.setdefault(place, set()).add(data[n * 512:n * 512 + 512])
        failed = any(isinstance(result, KernelError) for result in results)
        for place, contents in last.items():
            if not failed and not self.shaky and not isinstance(place, str):
                self.may[place] = contents
        return [(disk, [(each["op"], each["offset"] // 512, each["length"] // 512, *each.get("flags", ()))
                        for each in wanted], cpu) for disk, wanted, cpu in jobs], meanwhile

    def at(self, place):
        """What may be at a place; nothing stays in what is none."""
        return {bytes(512)} if isinstance(place, str) else self.may.setdefault(place, {bytes(512)})

    def do_flush(self):
        return self.with_range(lambda disk, *_: scenario.flush(disk), "flush")

    def do_discard(self):
        return self.with_range(scenario.discard, "discard")

    def do_zero_out(self):
        return self.with_range(scenario.zero_out, "zero_out")

    def with_range(self, fn, what):
        disk = self.disk()
        if disk not in self.disks() or disk in self.suspended():
            return "no disk"
        capacity = get_capacity(self.disks()[disk])
        if not capacity:
            return "empty"
        count = min(self.draw.choice([1, 8, 64, 500]), capacity)
        sector = self.draw.randint(0, capacity - count)
        places = self.places(disk, sector, count)
        try:
            fn(disk, sector * 512, count * 512)
            done = True
        except KernelError as why:
            done = False
            if not (self.trouble or self.shaky or "fails" in places or why.errno in (EOPNOTSUPP, EINVAL)):
                raise
        for place in places if what != "flush" else ():
            if not isinstance(place, str):
                self.may[place] = {bytes(512)} if done and what == "zero_out" and not self.shaky \
                    else self.at(place) | {bytes(512)}
        return what, disk, sector, count, done

    # Controllers and their faults.

    @property
    def shaky(self):
        """Whether a controller may be failing."""
        return any(controller.faults or controller.gone or controller.dbbuf for controller in self.controllers.values())

    def allowed(self, fn, *args, also=(), **kwargs):
        """Do what may be refused, but only as a kernel refuses it."""
        try:
            fn(*args, **kwargs)
            return "done"
        except KernelError as why:
            fine = {EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENXIO, EOPNOTSUPP, *also}
            if not (why.errno in fine or self.trouble or self.shaky):
                raise
            return why.name
        except KeyError:  # what is not there
            return "not there"

    def do_probe(self):
        if len(self.controllers) >= 2 or (self.controllers and self.draw.random() < .5):
            return "enough"
        controller = Controller(
            queue_pairs=self.draw.choice([1, 2, 64]), vectors=self.draw.choice([1, 2, 65]), mqes=2047,
            mdts=self.draw.choice([0, 1, 5]), sgl=self.draw.random() < .5, dbbuf=self.draw.random() < .1,
            write_cache=self.draw.random() < .5, dsm=self.draw.random() < .7, write_zeroes=self.draw.random() < .7,
            aborts=self.draw.random() < .7, serial=f"{len(self.steps)}",
            service=Service(self.draw.choice([0, 1000]), self.draw.choice([0, 3000]), self.draw.random() < .5, 1),
            namespaces={n + 1: Namespace(SECTORS) for n in range(self.draw.randint(1, 2))})
        if self.draw.random() < .15:
            controller.faults.append(self.fault())
        try:
            name = scenario.nvme_probe(controller=controller, io_queue_depth=self.draw.choice([2, 3, 16, 128]),
                                       poll_queues=self.draw.randint(0, 1), write_queues=self.draw.randint(0, 1))
        except KernelError as why:
            if not (self.trouble or controller.faults or controller.gone or controller.dbbuf):
                raise
            return why.name
        self.controllers[name] = controller
        dev = scenario.nvme_controller(name)
        self.kept = self.kept or sum(map(bool, dev.io_queues)) > 1  # 5.4 loses hardware queues where there are types
        return name, {key: value for key, value in vars(controller).items() if type(value) in (int, bool)}

    def fault(self):
        effect = self.draw.choice([FAIL, FAIL, SILENT, FATAL, GONE])
        return Fault(effect, nth=self.draw.randint(1, 30), opcode=self.draw.choice([None, 1, 2, 6, 8]),
                     status=self.draw.choice([0x281, 0x4002, 0x6, 0x80, 0x371]) if effect == FAIL else 0)

    def do_fault(self):
        if not self.controllers or self.draw.random() < .7:
            return "no fault"
        name = self.draw.choice(sorted(self.controllers))
        fault = self.fault()
        self.controllers[name].faults.append(fault)
        return name, fault

    def controller(self):
        return self.draw.choice(sorted(self.controllers) or ["nvme0"])

    def do_reset(self):
        name = self.controller()
        return name, self.allowed(scenario.set_nvme_file, name, "reset_controller", 1)

    def do_rescan(self):
        name = self.controller()
        return name, self.allowed(scenario.set_nvme_file, name, "rescan_controller", 1)

    def do_resize(self):
        name = self.controller()
        if name not in self.controllers:
            return "no controller"
        namespace = self.draw.choice(list(self.controllers[name].namespaces.values()))
        namespace.blocks = self.draw.choice([SECTORS, SECTORS // 2, SECTORS * 2])
        self.trouble = True  # what lies beyond the end is refused
        return name, namespace.blocks, self.allowed(scenario.set_nvme_file, name, "rescan_controller", 1)

    def do_remove(self):
        if self.draw.random() < .6:
            return "not now"
        name = self.controller()
        self.controllers.pop(name, None)
        return name, self.allowed(scenario.nvme_remove, name)

    # null_blk.

    def do_null(self):
        name = self.draw.choice("ab")
        if not scenario.modules().loaded & {"null_blk"}:
            self.allowed(scenario.null_blk_load, nr_devices=0, also=[ENOMEM])
        if self.draw.random() < .3:
            return name, self.allowed(scenario.null_blk_remove, name)
        before = set(self.disks())
        attributes = {"memory_backed": 1, "size": 1, "irqmode": self.draw.choice([0, 1, 2]),
                      "submit_queues": self.draw.randint(1, len(self.kernel.online)),
                      "hw_queue_depth": self.draw.choice([1, 2, 64]), "blocksize": 512,
                      "discard": self.draw.randint(0, 1), "cache_size": self.draw.choice([0, 1])}
        found = self.allowed(scenario.null_blk_create, name, **attributes)
        for disk in set(self.disks()) - before:
            self.media[disk] = disk, len(self.steps)
        return name, attributes, found

    # Queues.

    def do_file(self):
        disk, file = self.disk(), self.draw.choice(sorted(FILES))
        value: object = self.draw.choice(FILES[file])
        return disk, file, value, self.allowed(scenario.set_queue_file, disk, file, value)

    # Device mapper.

    def table(self, name):
        """A table over disks that are there, none of which is the device itself or above it."""
        lines, start = [], 0
        own = self.mapped().get(name, ("",))[0]
        under = [disk for disk in sorted(self.disks()) if not disk.startswith("dm-") or disk < (own or "dm-9")]
        if self.paths and under and self.draw.random() < .5:
            self.trouble = True  # a path that fails stays so
            features = self.draw.choice(["0", "1 queue_if_no_path", "1 retain_attached_hw_handler"])
            return f"0 64 multipath {features} 0 1 1 round-robin 0 1 1 /dev/{self.draw.choice(under)} 1"
        for _ in range(self.draw.choice([1, 1, 2, 3])):
            kind = self.draw.choice(["linear", "linear", "striped", "delay", "flakey", "zero", "error"])
            length = self.draw.choice([8, 64, 200])
            if kind in ("zero", "error") or not under:
                params = ""
                kind = kind if kind in ("zero", "error") else "zero"
            else:
                on = [f"/dev/{self.draw.choice(under)} {self.draw.choice([0, 8, 100])}" for _ in range(2)]
                if kind == "striped":
                    length = 128
                    params = f"2 {self.draw.choice([8, 16, 64])} {' '.join(on)}"
                else:
                    params = on[0] + {"linear": "", "delay": f" {self.draw.choice([0, 5])}", "flakey": " 3600 0"}[kind]
            lines.append(f"{start} {length} {kind} {params}".rstrip())
            start += length
        return "\n".join(lines)

    def do_dm(self):
        names = sorted(self.mapped())
        name = self.draw.choice([*names, *names, f"m{self.draw.randint(0, MOST_OPEN)}"])
        what = self.draw.choice(["create", "create", "load", "resume", "resume", "suspend", "remove", "clear", "table",
                                 "status", "info", "deps", "rename", "wipe", "force", "message"])
        words = {"create": ["create", name, "--table", self.table(name)],
                 "load": ["load", name, "--table", self.table(name)],
                 "suspend": ["suspend", *self.draw.choice([[], ["--noflush"], ["--nolockfs"]]), name],
                 "rename": ["rename", name, f"m{self.draw.randint(0, MOST_OPEN)}"], "wipe": ["wipe_table", name],
                 "message": ["message", name, "0", self.draw.choice([
                     "fail_if_no_path", "queue_if_no_path", "switch_group 1", "reinstate_path /dev/nvme0n1",
                     "fail_path /dev/nvme0n1"])], "force": ["remove", "--force", name]}.get(what, [what, name])
        try:
            done = self.tool(*words)
        except KernelError as why:
            if not self.short_now:
                raise
            return words, why.name, []
        return words, done.exit, done.errors

    # One step, and what must hold after it.

    def step(self):
        self.steps.append(None)
        name = self.draw.choice(["io"] * 8 + sorted(self.kinds) + ["dm"] * 4)
        if not self.disks():
            name = self.draw.choice(["probe", "null", "dm"])
        memory = self.kernel.memory
        self.short_now = self.draw.random() < .08
        before = self.trouble
        if self.short_now:
            self.short += 1
            self.trouble = True
            share, nth = self.draw.choice([(0.02, 0), (0.3, 0), (0, 1), (0, 7), (0, 40)])
            if nth:
                memory.fail_nth(nth)
            else:
                memory.fail_if(drawn(share, len(self.steps)))
        self.steps[-1] = name, self.short_now and (share, nth)
        came = self.kinds[name]()
        self.steps[-1] = name, self.short_now and (share, nth), came
        memory.fail_never()
        self.trouble = before or self.trouble
        self.kernel.loop.run_due()
        if self.shaky:
            self.kernel.loop.advance(200_000_000_000)
        self.controllers = self.present()
        self.check()

    def check(self):
        assert self.kernel.context.rcu == 0
        for controller in self.controllers.values():
            for qid, sq in controller.engine.sqs.items():
                assert not qid or not sq.running or self.shaky, (qid, sq.running)
        quiet = self.suspended()
        for name, disk in self.disks().items():
            if name not in quiet and disk.queue.nr_hw_queues:
                queue_at_rest(disk.queue)

    def end(self):
        """Remove everything."""
        for _ in range(2 * MOST_OPEN + 2):
            for name in self.mapped():
                self.tool("resume", name)
                self.tool("remove", name)
        if self.mapped():
            self.tool("remove_all", "--force")
        for name in "ab":
            self.allowed(scenario.null_blk_remove, name)
        for name in sorted(dev.kobj.name for dev in list(devices().of_class.get("nvme", ()))):
            self.allowed(scenario.nvme_remove, name)
        self.kernel.loop.advance(400_000_000_000)
        for unload, module in ((scenario.dm_unload, "dm_mod"), (scenario.null_blk_unload, "null_blk"),
                               (scenario.nvme_unload, "nvme")):
            if module in scenario.modules().loaded:
                unload()


def walked(seed, steps=STEPS):
    """Walk; what was done stands in what a failure says."""
    walk = Walk(seed)
    kernel, before = walk.kernel, walk.kernel.memory.totals()
    try:
        with tags_watched() as held, bios_watched():
            for _ in range(steps):
                walk.step()
            walk.end()
        assert not held
        left = {key: size - before.get(key, 0) for key, size in kernel.memory.totals().items()
                if size != before.get(key, 0) and key[0] != "bio_slab[]"}  # the kernel lets that array only grow
        assert not left or walk.short or walk.kept, left
        assert not walk.disks()
        assert not [line for line in kernel.log if "WARNING" in line] or walk.short or walk.shaky
    except BaseException as why:
        # 5.4.120 itself does not go on without memory, or where a reset brings more queues than there is room for
        if isinstance(why, KernelBug) and (walk.short or "behind the end of their array" in str(why)):
            return walk
        # it waits for a path, as it is to
        if isinstance(why, HungTask) and any("queue_if_no_path" in line and waits
                                             for _, lines, waits in walk.mapped().values() for line in lines):
            return walk
        why.add_note(f"seed {seed}:\n" + "\n".join(map(str, walk.steps)) + "\n" + "\n".join(kernel.log[-12:]))
        raise
    return walk


@pytest.mark.parametrize("seed", range(WALKS))
def test_walk(seed):
    walked(seed)
