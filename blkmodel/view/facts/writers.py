"""Who writes where: each CPU reads once, and it is noted which CPUs wrote to what the block layer and a driver keep."""

from functools import lru_cache

from blkmodel import scenario
from blkmodel.block.mq_deadline import deadline_data
from blkmodel.device import Controller
from blkmodel.drivers.nvme.host.pci import nvme_queue
from blkmodel.include.linux.sbitmap import sbitmap_word
from blkmodel.services import rb_root
from blkmodel.sim import Array, booted
from blkmodel.trace import Assign, Item, record, walk
from blkmodel.view.facts.queue_facts import hctxs, pair_of

PLACES = ("tags", "submission ring", "completion ring")
_COMPLETION = ("cq_head", "cq_phase", "last_cq_head")


@lru_cache(maxsize=16)
def writers(cpus: int, queues: int, scheduler: str) -> dict[tuple[str, int], set[int]]:
    """(what, number of its hardware queue) → the CPUs that write to it, when each of so many CPUs reads 4 KiB.

    What is one of PLACES, or the scheduler's name: a scheduler's lists are the disk's, and have number -1.
    """
    with booted(cpus):
        disk = f"{scenario.nvme_probe(controller=Controller(queues, dbbuf=False), io_queue_depth=65)}n1"
        scenario.set_scheduler(disk, scheduler)
        q = scenario.disk(disk).queue
        with record(watched=(sbitmap_word, nvme_queue, deadline_data, rb_root, Array)) as recording:
            for cpu in range(cpus):
                scenario.io(disk, "read", cpu << 12, 4096, cpu=cpu)
    of = {id(word): ("tags", hctx.queue_num) for hctx in hctxs(q) for word in hctx.tags.bitmap_tags.sb.map}
    for number, pair in enumerate(map(pair_of, hctxs(q))):
        of |= {id(each): ("submission ring", number) for each in (pair, pair and pair.sq_cmds)}
    if q.elevator:
        lists = q.elevator.elevator_data
        of |= {id(each): (scheduler, -1) for each in (lists, *lists.sort_list)}
    found: dict[tuple[str, int], set[int]] = {}
    for moment in walk(recording):
        event, cpu = moment.event, recording.contexts[moment.context].cpu
        if type(event) in (Assign, Item) and id(event[0]) in of and cpu >= 0:  # a device has no CPU
            what, number = of[id(event[0])]
            found.setdefault(("completion ring" if event[1] in _COMPLETION else what, number), set()).add(cpu)
    return found
