"""The actions of blktrace: in the order in which the kernel's trace points fire."""

import re

import pytest

from blkmodel import boot, scenario
from blkmodel.trace import Call, record
from blkmodel.userland.blktrace import Blktrace


def letters(queues, scheduler, step, *args, **params):
    boot(4)
    scenario.null_blk_load(submit_queues=queues, irqmode=2, **params)
    scenario.set_scheduler("nullb0", scheduler)
    with Blktrace("nullb0") as seen:
        step("nullb0", *args, cpu=1)
    return " ".join(seen.actions)


@pytest.mark.parametrize(("queues", "op", "kib", "scheduler", "said"), [
    (4, "read", 4, "none", "Q G D C"),
    (4, "write", 4, "none", "Q G P UT I D C"),
    (1, "read", 4, "mq-deadline", "Q G I D C"),
    (1, "write", 4, "mq-deadline", "Q G P UT I D C"),
    (4, "read", 256, "none", "Q X G D X G D G D C C C"),
    # a plug of a device with many queues keeps one request back: the next one lets it go
    (4, "write", 256, "none", "Q X G P X G P U D G P U D UT I D C C C"),
    # that of a device with one queue keeps them all
    (1, "write", 256, "none", "Q X G P X G G UT I I I D D D C C C"),
])
def test_a_read_and_a_write(queues, op, kib, scheduler, said):
    assert letters(queues, scheduler, scenario.io, op, 0, kib << 10) == said


@pytest.mark.parametrize(("scheduler", "said"), [
    ("none", "Q G P Q M Q F Q F Q G U D D R D C C"),
    ("mq-deadline", "Q G P Q M Q F Q F Q G U I I D D R D C C"),
    ("kyber", "Q G P Q M Q F Q F Q G U I I D D R D C C")])
def test_bios_join_and_a_request_is_given_back(scheduler, said):
    wanted = [{"op": "write", "offset": at << 12, "length": 4096} for at in (2, 3, 1, 0, 16)]
    assert letters(1, scheduler, scenario.aio, wanted, requeue="3,100,0,4") == said


def test_a_full_plug_is_pulled():
    said = letters(1, "none", scenario.io, "write", 0, 3 << 20, hw_queue_depth=64).split()
    assert said.count("U") == 1
    assert said.count("UT") == 1
    pulled = said.index("U")
    assert said[:pulled].count("G") == 17, "sixteen are in the plug when one more comes"
    assert said[pulled + 1:pulled + 18] == ["D"] * 16 + ["P"]
    assert said.count("Q") == 3
    assert said.count("C") == said.count("D") == said.count("G") == 27


def test_a_driver_that_refuses_at_once_gives_the_request_back():
    kernel, turns = boot(4), iter([True, True])
    scenario.nvme_probe(io_queue_depth=16)
    kernel.memory.fail_if(lambda kind, size: "prp list" in kind and next(turns, False))
    with Blktrace("nvme0n1") as seen:
        scenario.io("nvme0n1", "read", 0, 64 << 10)
    assert " ".join(seen.actions) == "Q G R R D C"


def test_time_passes_in_the_device():
    boot(4)
    scenario.null_blk_load(submit_queues=4, irqmode=2, completion_nsec=7000)
    with Blktrace("nullb0") as seen:
        scenario.io("nullb0", "write", 0, 4096)
    assert [re.search(r"\.(\d{9}) ", line)[1] for line in seen.lines] == ["000000000"] * 6 + ["000007000"]


@pytest.mark.parametrize("outer", ["the recorder", "blktrace"])
def test_blktrace_and_the_recorder_are_told_both(outer):
    def traced():
        with Blktrace("nullb0") as seen:
            scenario.io("nullb0", "read", 0, 4096)
        return seen
    boot(2)
    scenario.null_blk_load()
    assert traced().actions == ["Q", "G", "I", "D", "C"]
    alone = record(scenario.io, "nullb0", "read", 0, 4096)
    if outer == "blktrace":
        with Blktrace("nullb0") as seen:
            done = record(scenario.io, "nullb0", "read", 0, 4096)
    else:
        done = record(traced)
        seen = done.result
    assert seen.actions == ["Q", "G", "I", "D", "C"]
    assert [call.function for call in done.of(Call)] == [call.function for call in alone.of(Call)]
