"""Who writes where: one queue is everybody's, a queue for each CPU is its own, and a scheduler is the disk's."""

from __future__ import annotations

import pytest

from blkmodel import boot
from blkmodel.view.facts.queue_facts import hctxs, queue_of, served
from blkmodel.view.facts.writers import PLACES, writers
from blkmodel.view.figures.sharing import sharing
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


@pytest.mark.parametrize("queues", [1, 2, 3, 8, 12])
def test_a_ring_is_written_by_the_cpus_of_its_queue(queues):
    found = writers(8, queues, "none")
    boot(8)
    for hctx in hctxs(queue_of("nvme", queues, depth=64)):
        for place in PLACES[:2]:
            assert found[place, hctx.queue_num] >= served(hctx)
    assert {number for _, number in found} == set(range(min(queues, 8)))


def test_one_queue_is_shared_and_one_for_each_is_not():
    one, each = writers(8, 1, "none"), writers(8, 8, "none")
    assert one["tags", 0] == one["submission ring", 0] == set(range(8))
    assert len(one["completion ring", 0]) == 1, "who is interrupted takes what has ended out of the ring"
    assert all(len(who) == 1 for who in each.values())


def test_a_scheduler_is_shared_by_all_of_a_disk():
    assert writers(8, 8, "mq-deadline")["mq-deadline", -1] == set(range(8))


@pytest.mark.parametrize(("case", "said"), [
    ((8, 1, "none"), "2 of 3 places are written by several CPUs."),
    ((8, 8, "none"), "None of 24 places is written by several CPUs."),
    ((8, 8, "mq-deadline"), "1 of 25 places is written by several CPUs."),
])
def test_it_says_and_draws_how_many_are_shared(case, said):
    html = sharing(*case)
    assert said in words(html)
    assert label(html).startswith(said)
    cells = [cell.get("class") for cell in parsed(html).iter("td")]
    assert cells.count("many") == (0 if said.startswith("None") else int(said[0]))
    assert len(cells) == len(writers(*case))


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("sharing(4, 2, 'mq-deadline')", "blkmodel.view.figures.sharing")) == 1
