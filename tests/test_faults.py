"""Each fault at each point of a small workload: what every process gets, and that everything is at rest then.

A point is a step of virtual time (a process begins or goes on, a worker, an interrupt or a timer runs) and, for what
happens to the hardware, also each doorbell, command, completion and message. Over the first kind of controller every
fault strikes at every point; over each other one at every fourth, the first of which goes by the
fault's place in the list. `BLKMODEL_FAULTS=all pytest tests/test_faults.py` strikes at all.
"""

import contextlib
import os
import re
from collections import Counter
from itertools import count

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import FAIL, FATAL, SILENT, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.drivers.nvme.host import pci
from blkmodel.drivers.nvme.host.core import STATE_NAMES
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_mq import BLK_EH_DONE, BLK_EH_RESET_TIMER, queue_for_each_hw_ctx
from blkmodel.include.linux.blkdev import MQ_RQ_COMPLETE
from blkmodel.services.base.err import ENOENT
from blkmodel.services.devices.device import devices, whole_disks
from blkmodel.services.devices.kobject import sysfs
from blkmodel.sim.events import HungTask, functions_of
from blkmodel.sim.kernel import Context
from tests.invariants import bios_watched, content, queue_at_rest, tags_watched

ALL = os.environ.get("BLKMODEL_FAULTS") == "all"
PAGE, SECTORS, SECOND = 4096, 256, 1_000_000_000
TASKS, HARDWARE = ("enter",), ("enter", "doorbell", "command", "completion", "interrupt")


def io(op, page, cpu=0, ms=0, serial=1):
    """A step: read or write one page of the disk, by a process on a CPU."""
    wanted = {"op": op, "offset": page * PAGE, "length": PAGE, "cpu": cpu}
    return {"ms": ms, "step": ["io", wanted | ({"data": content(8 * page, 8, serial)} if op == "write" else {})]}


def batch(cpu, *steps):
    """A step: what these steps want, by one io_submit() of a process on a CPU."""
    wanted = [{key: value for key, value in each["step"][1].items() if key != "cpu"} for each in steps]
    return {"step": ["aio", {"cpu": cpu, "wanted": wanted}]}


# Six commands, on two queues of two tags: one process waits for a tag, one comes late, and one flushes.
IOS = [io("write", 0, 0), batch(1, io("read", 8), io("write", 1), io("read", 10)), io("read", 9, 1, ms=10),
       {"ms": 45, "step": ["flush", {"cpu": 0}]}]


class Run:
    """A workload that is run once, over a controller of some kind. points: how many there were; struck: whether the
    fault was. results: what each I/O came to, by its place in IOS (and in its batch): bytes, or the name of an error.
    refused: why what was done meanwhile could not be; hangs: it ended in a state that 5.4 does not leave."""

    def __init__(self, kind="two queues"):
        self.kernel = boot(2, seed=3)
        sysfs().config.add("FAIL_IO_TIMEOUT")
        scenario.nvme_load(io_queue_depth=3)
        self.dm = kind == "mapped"
        if self.dm:
            scenario.dm_load()
        self.before = self.kernel.memory.totals()
        self.controller = Controller(queue_pairs=1 if kind == "one queue" else 2, vectors=3, dbbuf=kind == "doorbells",
                                     aborts=kind != "never aborts", namespaces={1: Namespace(SECTORS)},
                                     service=Service(least=20_000_000))
        scenario.nvme_probe(controller=self.controller)
        if kind == "one abort at a time":
            scenario.nvme_controller().ctrl.abort_limit = 1
        scenario.set_disk_file("nvme0n1", "io-timeout-fail", 1)
        self.disk = "nvme0n1"
        if self.dm:
            scenario.dmsetup_run("create", "m", "--table", f"0 {SECTORS} linear /dev/nvme0n1 0")
            self.disk = "dm-0"
        self.points, self.struck, self.results, self.logged = 0, False, {}, len(self.kernel.log)
        self.q, self.refused, self.hangs = scenario.disk("nvme0n1").queue, None, False

    def go(self, strike=None, at=0, kinds=("enter",)):
        """Run the workload to its end, and let whatever it set off come to rest; strike(run) at that point, from 1."""
        def observe(kind, **_):
            if kind in kinds:
                self.points += 1
                if self.points == at:
                    self.struck = True
                    strike(self)
        steps = [{**each, "step": [each["step"][0], {**each["step"][1], "disk": self.disk}]} for each in IOS]
        self.kernel.observer = observe
        try:
            with tags_watched() as held, bios_watched():
                found = scenario.together(steps, self.do)
                self.kernel.loop.advance(300 * SECOND)
            assert not held
        except HungTask:
            assert self.flush_is_held(), self.log
            self.hangs = True
            return self
        finally:
            del self.kernel.observer
        assert not self.kernel.loop.sleepers()
        for n, result in enumerate(found):
            for m, each in enumerate(result if isinstance(result, list) else [result]):
                self.results[n, m] = each.name if isinstance(each, KernelError) else each
        return self

    def do(self, step):
        """Do a step as a process does whose CPU may have gone, and its disk."""
        if step[1]["cpu"] not in self.kernel.online:
            step[1]["cpu"] = min(self.kernel.online)
        try:
            return scenario.run_step(step)
        except KeyError:  # there is no such file any more
            lost = KernelError(-ENOENT, "open", [])
            return [lost] * len(step[1]["wanted"]) if step[0] == "aio" else lost

    def flush_is_held(self):
        """Whether the timeout handler waits for a flush that it holds itself, as 5.4 does (reference/defects.tsv)."""
        waits = "blk_mq_tagset_wait_completed_request" in [
            name for task in self.kernel.loop.sleepers() for name in functions_of(task.frame)]
        flushes = [hctx.fq.flush_rq for hctx in queue_for_each_hw_ctx(self.q)]
        return waits and [(rq.state, rq.ref) for rq in flushes if rq.state] == [(MQ_RQ_COMPLETE, 1)]

    def meanwhile(self, fn, *args, ms=0):
        """Let a process of its own do something from now on."""
        def run():
            try:
                fn(*args)
            except (KernelError, KeyError) as why:  # whatever it is about is on its way out already
                self.refused = why
        self.kernel.loop.post(Context("task", "meanwhile", min(self.kernel.online)), run, ms * 1_000_000)

    @property
    def log(self):
        return self.kernel.log[self.logged:]

    def failed(self):
        """The errors that there were, and how often."""
        return Counter(each for each in self.results.values() if isinstance(each, str))


def check(run, fine=()):
    """That the data are right: what was read, and what is on the medium; that nothing failed but in a way that is
    fine; that everything is at rest; and that nothing is left once all is removed."""
    run.controller.faults.clear()
    errors = run.failed()
    assert set(errors) <= set(fine), errors
    medium = run.controller.namespaces[1]
    for (n, m), got in run.results.items():
        kind, wanted = IOS[n]["step"]
        op = kind if kind == "flush" else (wanted["wanted"][m] if kind == "aio" else wanted)
        if isinstance(got, str) or kind == "flush":
            continue
        new = op.get("data", bytes(PAGE))
        assert got == new
        if not run.controller.gone:  # which loses what it had only cached
            assert medium.read(op["offset"], PAGE) == new
    assert run.kernel.context.rcu == 0
    there = whole_disks()
    for name in {"nvme0n1", run.disk} & there.keys():
        queue_at_rest(there[name].queue, marks=len(run.kernel.online) < 2)
    if "nvme0n1" in there:
        assert scenario.nvme_file("nvme0", "state") == "live"
        if not run.controller.gone:
            assert scenario.io(run.disk, "read", 20 * PAGE, PAGE) == bytes(PAGE)
    if run.dm:
        assert scenario.dmsetup_run("remove", "m").exit == 0
    if devices().of_class.get("nvme"):
        with contextlib.suppress(KernelError):
            scenario.nvme_remove()
    run.kernel.loop.advance(SECOND)
    totals = run.kernel.memory.totals()
    assert not {key for key, size in totals.items()
                if size != run.before.get(key, 0) and key[0] != "bio_slab[]"}  # the kernel lets that array only grow
    assert run.kernel.loop.pending() == []
    return "nvme0n1" in there and not run.controller.gone


def one_answer_less(run):
    scenario.fail_io_timeout(100, 1)


def no_answer(run):
    run.controller.faults.append(Fault(SILENT))


def error(run):
    run.controller.faults.append(Fault(FAIL, status=nvme.NVME_SC_LBA_RANGE | nvme.NVME_SC_DNR))


def error_once(run):
    run.controller.faults.append(Fault(FAIL, status=nvme.NVME_SC_INTERNAL))


def breaks(run):
    run.controller.faults.append(Fault(FATAL))


def no_interrupts(run):
    run.controller.mask(run.points % 2 + 1, True)


def reset(run):
    run.meanwhile(scenario.set_nvme_file, "nvme0", "reset_controller", 1)


def remove(run):
    run.meanwhile(scenario.nvme_remove)


def unbind(run):
    run.meanwhile(scenario.nvme_unbind)


def pull_out(run):
    run.meanwhile(scenario.nvme_pull_out)


def vanish(run):
    run.controller.unplug()


def cpu_goes(run):
    run.meanwhile(scenario.cpu_offline, 1)


def cpu_goes_and_comes(run):
    run.meanwhile(scenario.cpu_offline, 1)
    run.meanwhile(scenario.cpu_online, 1, ms=40_000)


def no_answer_then_reset(run):
    no_answer(run)
    run.meanwhile(scenario.set_nvme_file, "nvme0", "reset_controller", 1, ms=5)


def no_answer_then_remove(run):
    no_answer(run)
    run.meanwhile(scenario.nvme_remove, ms=5)


def reset_without_an_answer(run):
    """The reset's n-th command to the admin queue gets none, which n goes by the point."""
    run.controller.faults.append(Fault(SILENT, nth=run.points % 8 + 1, queue=0))
    reset(run)


def neither_answers(run):
    """Neither the next command on queue 2 nor the deletion of that queue, which a reset begins with."""
    run.controller.faults += [Fault(SILENT, queue=2), Fault(SILENT, queue=0)]
    run.meanwhile(scenario.set_nvme_file, "nvme0", "reset_controller", 1, ms=5)


# what is done, at which points, which errors are right then, and whether the disk is there in the end
GOING = "EIO", "ENOENT", "ENXIO"
FAULTS = {
    one_answer_less: (HARDWARE, (), True), no_answer: (HARDWARE, (), True), error: (HARDWARE, ("EREMOTEIO",), True),
    error_once: (HARDWARE, (), True), breaks: (HARDWARE, (), True), no_interrupts: (HARDWARE, (), True),
    vanish: (HARDWARE, ("EIO",), False), reset: (TASKS, (), True), remove: (TASKS, GOING, False),
    unbind: (TASKS, GOING, False), pull_out: (TASKS, GOING, False), cpu_goes: (TASKS, (), True),
    cpu_goes_and_comes: (TASKS, (), True), no_answer_then_reset: (TASKS, (), True),
    no_answer_then_remove: (TASKS, GOING, False), reset_without_an_answer: (TASKS, ("EIO", "ENOENT"), None)}
KINDS = "two queues", "one queue", "never aborts", "one abort at a time", "mapped"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_at_every_point(fault, kind):
    kinds, fine, stays = FAULTS[fault]
    hangs = []
    for at in count(1) if ALL or kind == KINDS[0] else count(1 + list(FAULTS).index(fault) % 4, 4):
        run = Run(kind).go(fault, at, kinds)
        if not run.struck:
            break
        try:
            hangs.append(run.hangs)
            assert run.hangs or check(run, fine) in (stays, *[True, False][:2 * (stays is None)])
        except BaseException as why:
            why.add_note(f"{fault.__name__} at point {at} over {kind}\n" + "\n".join(run.log[-20:]))
            raise
    assert len(hangs) > 4
    assert any(hangs) == (fault is no_answer_then_remove)


def answers(monkeypatch):
    """A list that grows by what nvme_timeout() answers, and the controller's state then."""
    seen, timeout = [], pci.nvme_timeout

    def watched(req, reserved):
        state = pci.nvme_req(req).ctrl.state
        seen.append((STATE_NAMES[state], timeout(req, reserved)))
        return seen[-1][1]
    for ops in (pci.nvme_mq_ops, pci.nvme_mq_admin_ops):
        monkeypatch.setattr(ops, "timeout", watched)
    return seen


def test_each_answer_to_a_timeout(monkeypatch):
    """All that nvme_timeout() can log and answer, by the state that the controller is in."""
    seen, lines = answers(monkeypatch), set()
    for fault, kind, at in ((no_interrupts, KINDS[0], 4), (no_answer, KINDS[0], 8), (no_answer, "never aborts", 8),
                            (breaks, KINDS[0], 8), (no_answer_then_remove, KINDS[0], 4),
                            (reset_without_an_answer, KINDS[0], 4), (neither_answers, KINDS[0], 1)):
        run = Run(kind).go(fault, at)
        lines |= {found[0] for line in run.log if (found := re.search(r"timeout, .*|controller is down", line))}
    assert lines == {"timeout, completion polled", "timeout, aborting", "timeout, reset controller",
                     "timeout, disable controller", "controller is down"}
    assert set(seen) == {("live", BLK_EH_DONE), ("live", BLK_EH_RESET_TIMER), ("resetting", BLK_EH_RESET_TIMER),
                         ("connecting", BLK_EH_DONE), ("deleting", BLK_EH_DONE)}


def test_a_flush_that_is_late_while_its_disk_goes_is_waited_for_for_ever():
    """The timeout handler holds the flush, so that it stays marked as completed; and waits until it is not."""
    run = Run()
    run.controller.faults.append(Fault(SILENT, opcode=nvme.nvme_cmd_flush))
    assert run.go(remove, 15).hangs
    assert "Call Trace: submit_bio_wait blkdev_issue_flush blkdev_fsync" in run.log
    run = Run()
    run.controller.faults.append(Fault(SILENT, opcode=nvme.nvme_cmd_flush))
    assert check(run.go())


def test_no_abort_is_left(monkeypatch):
    """The second of two commands that are late gets more time, since the controller takes one abort at a time."""
    seen, run = answers(monkeypatch), Run("one abort at a time")
    run.controller.faults += [Fault(SILENT, nth=n, queue=2) for n in (1, 2)]
    run.go()
    assert set(seen) == {("live", BLK_EH_RESET_TIMER)}
    assert len(seen) > sum("aborting" in line for line in run.log) == 2
    assert not run.failed()


@pytest.mark.parametrize("cleared", [False, True])
def test_a_reset_with_doorbells_in_memory(cleared, monkeypatch):
    """5.4's own defect (nvme_dbbuf_dma_alloc in reference/defects.tsv): at most points a reset loses a command, and two
    timeouts later the controller; every I/O still ends once. None fails where the copies are cleared, as 58847f12fe78
    does."""
    make = pci.nvme_dbbuf_dma_alloc

    def alloc(dev):
        for words in (dev.dbbuf_dbs, dev.dbbuf_eis):
            if words is not None:
                words[:] = [0] * len(words)
        return make(dev)
    if cleared:
        monkeypatch.setattr(pci, "nvme_dbbuf_dma_alloc", alloc)
    stays: Counter[bool] = Counter()
    for at in count(1):
        run = Run("doorbells").go(reset, at)
        if not run.struck:
            break
        there = check(run, ("EIO",))
        assert there == (not run.failed())
        stays[there] += 1
    assert stays[False] > stays[True] > 0 if not cleared else not stays[False]


def test_every_allocation_fails():
    """Of the workload: some I/O gets ENOMEM. And of one with a reset, which then may give the controller up."""
    for strike, fine in ((lambda run: None, {"ENOMEM"}), (reset, {"ENOMEM", "EIO"})):
        came: Counter[str] = Counter()
        for nth in count(1):
            run = Run()
            memory = run.kernel.memory
            memory.fail_nth(nth)
            run.go(strike, 9)
            done = not memory.failed
            memory.fail_never()
            assert check(run, fine) == ("EIO" not in run.failed())
            came.update(set(run.failed()) or {"nothing"})
            if done:
                break
        assert came.keys() == fine | {"nothing"}


@pytest.mark.parametrize("irqmode", [0, 1, 2])
@pytest.mark.parametrize("what", ["timeout", "requeue"])
def test_every_fault_of_null_blk(what, irqmode):
    """A request that null_blk forgets times out, and counts as done; one that it sends back is tried again."""
    late = 0
    for nth in range(1, 12):
        kernel = boot(2)
        scenario.null_blk_load(hw_queue_depth=2, submit_queues=2, irqmode=irqmode, no_sched=1, home_node=0,
                               **{what: f"{nth},100,0,1"})
        scenario.io("nullb0", "read", 0, 512)  # from then on its node has a block device
        before, began = kernel.memory.totals(), len(kernel.log)
        with tags_watched() as held, bios_watched():
            found = scenario.together([{**each, "step": [each["step"][0], {**each["step"][1], "disk": "nullb0"}]}
                                       for each in IOS])
        assert not [each for each in found if isinstance(each, KernelError)]
        assert not held
        queue_at_rest(scenario.disk("nullb0").queue)
        assert kernel.memory.totals() == before
        late += any("timed out" in line for line in kernel.log[began:])
    assert late == (5 if what == "timeout" else 0)
