"""mq-deadline at work: what waits in its lists before each request that it gives out, and why it was that one."""

from functools import lru_cache
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block import blk_mq
from blkmodel.block.mq_deadline import deadline_data
from blkmodel.fs.aio import io_submit, iocb, kioctx
from blkmodel.include.linux.blkdev import MQ_RQ_IN_FLIGHT, READ, WRITE, blk_rq_pos, blk_rq_sectors, request, rq_data_dir
from blkmodel.include.linux.elevator import rb_entry_rq
from blkmodel.services import O_DIRECT, O_RDWR, filp_open, jiffies, jiffies_to_msecs, map_user_buffer, time_after_eq
from blkmodel.sim import PAGE_SIZE, booted
from blkmodel.trace import Assign, record

_MOST = 16


class Waiting(NamedTuple):
    """A request: `r` or `w`, its first page on the disk and the number of its pages, and the ms that it has left."""

    kind: str
    page: int
    pages: int
    left: int

    @property
    def name(self) -> str:
        """A request as a reader types it: `r40`, and `r40–43` if it has several pages."""
        return f"{self.kind}{self.page}" + (f"–{self.page + self.pages - 1}" if self.pages > 1 else "")


class State(NamedTuple):
    """The scheduler at a moment. by_sector and by_age: the waiting requests of each direction; follows: what comes
    after the last one given out, or None. given: what the driver has, in order; why: of the last of them."""

    now: int
    by_sector: tuple[tuple[Waiting, ...], ...]
    by_age: tuple[tuple[Waiting, ...], ...]
    follows: Waiting | None
    batching: int
    starved: int
    given: tuple[Waiting, ...]
    why: str


@lru_cache(maxsize=32)
def states(wanted: str, apart: int, fifo_batch: int, writes_starved: int) -> tuple[State, ...]:
    """The scheduler's State before any of these was given out, and after each."""
    asked = _asked(wanted)
    with booted(2) as kernel:
        scenario.null_blk_load(submit_queues=1)
        for name, value in (("fifo_batch", fifo_batch), ("writes_starved", writes_starved)):
            scenario.set_queue_file("nullb0", f"iosched/{name}", value)
        q = scenario.disk("nullb0").queue
        blk_mq.blk_mq_stop_hw_queues(q)
        filp, ctx = filp_open("nullb0", O_DIRECT | O_RDWR), kioctx()
        for n, (rw, page) in enumerate(asked):
            kernel.loop.advance(apart * 1_000_000 if n else 0)
            io_submit(ctx, [iocb(rw, filp, map_user_buffer([1]), page * PAGE_SIZE, PAGE_SIZE)])
        scheduler = q.elevator.elevator_data
        found = [_state(scheduler, (), "")]
        while q.elevator.type.ops.has_work(q.queue_hw_ctx[0]):
            follows = _following(scheduler)
            rq = q.elevator.type.ops.dispatch_request(q.queue_hw_ctx[0])
            why = _why(scheduler, rq, rq is follows, found[-1])
            found.append(_state(scheduler, (*found[-1].given, _waiting(rq)), why))
        return tuple(found)


def _asked(text: str) -> list[tuple[int, int]]:
    asked = []
    for word in text.replace(",", " ").lower().split():
        if word[0] not in "rw" or not word[1:].isdecimal() or int(word[1:]) > 999:
            raise ValueError(f"{word!r} is no request: type r40 to read page 40, w12 to write page 12; up to page 999")
        asked.append((READ if word[0] == "r" else WRITE, int(word[1:])))
    if not 0 < len(asked) <= _MOST:
        raise ValueError(f"{len(asked)} requests: type from 1 to {_MOST}, such as r40 w12")
    return asked


def _following(dd: deadline_data) -> request | None:
    """The request that comes after the last one given out, in the same direction."""
    return dd.next_rq[WRITE] or dd.next_rq[READ]


def _why(dd: deadline_data, rq: request, follows: bool, before: State) -> str:
    """In words why the scheduler gave out this request, seen from how it was before."""
    if follows and before.batching < dd.fifo_batch:
        return "it follows the last one, and the batch is not over"
    direction = rq_data_dir(rq)
    who = "reads go first" if direction == READ else "writes have waited long enough"
    if not all(before.by_age):
        who = f"only {'writes' if direction else 'reads'} wait"
    if follows:
        return f"a new batch begins: {who}, and it follows the last one"
    late = time_after_eq(jiffies(), rq.fifo_time)
    return f"a new batch begins: {who}, and {'their oldest is late' if late else 'it is their oldest'}"


def _state(dd: deadline_data, given: tuple[Waiting, ...], why: str) -> State:
    follows = _following(dd)
    return State(jiffies_to_msecs(jiffies()),
                 tuple(tuple(_waiting(rb_entry_rq(node)) for node in root.nodes) for root in dd.sort_list),
                 tuple(tuple(map(_waiting, each)) for each in dd.fifo_list),
                 _waiting(follows) if follows is not None else None, dd.batching, dd.starved, given, why)


def _waiting(rq: request) -> Waiting:
    left = jiffies_to_msecs(rq.fifo_time) - jiffies_to_msecs(jiffies())
    return Waiting("rw"[rq_data_dir(rq)], rq._sector >> 3, blk_rq_sectors(rq) >> 3, left)


def driver_order(wanted: str, settings: dict[str, int] | None = None) -> str:
    """Submit one page each of these, as in "r25 w3", at once through mq-deadline; return them as the driver gets them.

    settings: files of the scheduler, by name, with what is written to them. Pages that join would be one request.
    """
    ios = [{"op": ("read", "write")[rw], "offset": page << 12, "length": 4096} for rw, page in _asked(wanted)]
    with booted(4):
        scenario.null_blk_load(submit_queues=1, irqmode=2)
        for name, value in (settings or {}).items():
            scenario.set_queue_file("nullb0", f"iosched/{name}", value)
        recording = record(scenario.aio, "nullb0", ios, cpu=1, watched=(request,))
    started = [event.object for event in recording.of(Assign)
               if event.field == "state" and event.new == MQ_RQ_IN_FLIGHT]
    return " ".join(f"{'rw'[rq_data_dir(rq)]}{blk_rq_pos(rq) >> 3}" for rq in started)
