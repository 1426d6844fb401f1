"""The actions of blktrace: in the order in which the kernel's trace points would fire."""

import pytest

from blkmodel import boot, scenario
from blkmodel.block import blk_mq
from blkmodel.include.linux.blk_types import BLK_STS_DEV_RESOURCE, REQ_OP_READ
from blkmodel.trace import record
from blkmodel.view.facts.blktrace import MEANINGS, actions, listing
from tests.block.simple_driver import Driver


def letters(disk, op, kib, scheduler="none", **params):
    boot(4)
    scenario.null_blk_load(**disk, irqmode=2, **params)
    scenario.set_scheduler("nullb0", scheduler)
    return " ".join(each.letter for each in actions(record(scenario.io, "nullb0", op, 0, kib << 10, cpu=1)))


MANY, ONE = {"submit_queues": 4}, {"submit_queues": 1}


@pytest.mark.parametrize(("disk", "op", "kib", "scheduler", "said"), [
    (MANY, "read", 4, "none", "Q G D C"),
    (MANY, "write", 4, "none", "Q G P UT I D C"),
    (ONE, "read", 4, "mq-deadline", "Q G I D C"),
    (ONE, "write", 4, "mq-deadline", "Q G P UT I D C"),
    (MANY, "read", 256, "none", "Q X G D X G D G D C C C"),
    # a plug of a device with many queues keeps one request back: the next one lets it go
    (MANY, "write", 256, "none", "Q X G P X G P U D G P U D UT I D C C C"),
    # that of a device with one queue keeps them all
    (ONE, "write", 256, "none", "Q X G P X G G UT I I I D D D C C C"),
])
def test_actions(disk, op, kib, scheduler, said):
    assert letters(disk, op, kib, scheduler) == said


def test_a_full_plug_is_pulled():
    said = letters(ONE, "write", 3072, hw_queue_depth=64).split()
    assert said.count("U") == 1
    assert said.count("UT") == 1
    pulled = said.index("U")
    assert said[:pulled].count("G") == 17, "sixteen are in the plug when one more comes"
    assert said[pulled + 1:pulled + 18] == ["D"] * 16 + ["P"]
    assert said.count("Q") == 3
    assert said.count("C") == said.count("D") == said.count("G") == 27


def test_a_refused_request_is_given_back():
    boot(2)
    driver = Driver()
    q = driver.load()
    driver.refusals = [BLK_STS_DEV_RESOURCE]
    rq = blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, 0)
    done = actions(record(blk_mq.blk_mq_request_issue_directly, rq, True))
    assert [each.letter for each in done] == ["R"]


def test_what_a_bio_driver_ends_is_complete_too():
    boot(4)
    scenario.null_blk_load(queue_mode=0)
    done = actions(record(scenario.io, "nullb0", "read", 0, 4096))
    assert [each.letter for each in done] == ["Q", "C"]


def test_who_and_when():
    boot(4)
    scenario.null_blk_load(submit_queues=4, irqmode=2, completion_nsec=7000)
    done = actions(record(scenario.io, "nullb0", "write", 0, 4096, cpu=2))
    assert [(each.letter, each.who, each.cpu) for each in done[-3:]] == [("I", "dio", 2), ("D", "kblockd", 2),
                                                                         ("C", "hrtimer", 2)]
    assert done[-1].time - done[-2].time == 7000


def test_the_listing_says_what_each_means():
    boot(4)
    scenario.null_blk_load(submit_queues=4)
    lines = listing(record(scenario.io, "nullb0", "read", 0, 4096)).splitlines()
    assert [line.split()[2] for line in lines] == ["Q", "G", "D", "C"]
    assert all(line.endswith(MEANINGS[line.split()[2]]) for line in lines)
    assert lines[0].split()[:2] == ["0", "0.000"]
