"""The deadline scheduler: requests in the order of their sectors, but none too late.

Requests of each direction are in a tree by sector and in a list by age. It serves a direction in batches of up to
fifo_batch requests of ascending sectors. Reads go first, but at most writes_starved times in a row before writes;
and where the oldest request of the direction has waited for longer than fifo_expire, the batch begins with it.
Left out: zoned devices, and what debugfs shows.
"""

from dataclasses import field

from blkmodel.block import blk_mq, blk_mq_sched, elevator
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import (READ, RQF_STARTED, UINT_MAX, WRITE, bio, bio_data_dir, bio_end_sector,
    blk_rq_is_passthrough, blk_rq_pos, request, request_queue, rq_data_dir, rq_mergeable)
from blkmodel.include.linux.elevator import (ELEVATOR_F_ZBD_SEQ_WRITE, ELEVATOR_FRONT_MERGE, ELEVATOR_NO_MERGE,
    elevator_mq_ops, elevator_queue, elevator_type, rb_entry_rq, rq_entry_fifo)
from blkmodel.services import (BUG_ON, ENOMEM, GFP_KERNEL, HZ, RB_EMPTY_NODE, RB_EMPTY_ROOT, WARN_ON_ONCE, jiffies,
    jiffies_to_msecs, kfree, kobject_put, kzalloc_node, list_add, list_add_tail, list_del_init, list_empty,
    list_first_entry, list_head, list_replace_init, module_init, msecs_to_jiffies, rb_next, rb_root, signed_int,
    time_after_eq, time_before)
from blkmodel.sim import NULL, Struct, statics

read_expire, write_expire, writes_starved, fifo_batch = HZ // 2, 5 * HZ, 2, 16
INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


class deadline_data(Struct):
    """One queue's deadline scheduler. Lists of two are by direction: READ, WRITE.

    A request is in sort_list (by sector) and fifo_list (by age, its queuelist) of its direction, or in `dispatch`,
    which goes before everything. next_rq: what follows the last dispatched request; of at most one direction.
    batching: how many the batch has had; starved: how often reads went before waiting writes. fifo_expire: jiffies.
    """

    sort_list: list[rb_root] = field(default_factory=lambda: [rb_root(), rb_root()])
    fifo_list: list[list_head] = field(default_factory=lambda: [list_head(), list_head()])
    next_rq: list[request] = field(default_factory=lambda: [NULL, NULL])
    batching: int = 0
    starved: int = 0
    fifo_expire: list[int] = field(default_factory=lambda: [0, 0])
    fifo_batch: int = 0
    writes_starved: int = 0
    front_merges: int = 0
    dispatch: list_head = field(default_factory=list_head)


def deadline_rb_root(dd: deadline_data, rq: request) -> rb_root:
    """The tree for requests of this one's direction."""
    return dd.sort_list[rq_data_dir(rq)]


def deadline_latter_request(rq: request) -> request:
    """The request after this one in the order of sectors, or None."""
    return rb_entry_rq(rb_next(rq.rb_node))


def deadline_add_rq_rb(dd: deadline_data, rq: request) -> None:
    """Put a request into its tree."""
    elevator.elv_rb_add(deadline_rb_root(dd, rq), rq)


def deadline_del_rq_rb(dd: deadline_data, rq: request) -> None:
    """Take a request out of its tree; where it was to be next, its successor is."""
    data_dir = rq_data_dir(rq)
    if dd.next_rq[data_dir] is rq:
        dd.next_rq[data_dir] = deadline_latter_request(rq)
    elevator.elv_rb_del(deadline_rb_root(dd, rq), rq)


def deadline_remove_request(q: request_queue, rq: request) -> None:
    """Forget a request: take it off its list, out of its tree (it is in none while it is being inserted) and hash."""
    dd = q.elevator.elevator_data
    list_del_init(rq, "queuelist")
    if not RB_EMPTY_NODE(rq.rb_node):
        deadline_del_rq_rb(dd, rq)
    elevator.elv_rqhash_del(q, rq)
    if q.last_merge is rq:
        q.last_merge = NULL


def dd_request_merged(q: request_queue, req: request, type: int) -> None:
    """A bio has joined the request; at its front, so that it begins earlier and has to move in its tree."""
    dd = q.elevator.elevator_data
    if type == ELEVATOR_FRONT_MERGE:
        elevator.elv_rb_del(deadline_rb_root(dd, req), req)
        deadline_add_rq_rb(dd, req)


def dd_merged_requests(q: request_queue, req: request, next: request) -> None:
    """`req` has taken up `next`: it inherits the earlier deadline, and that one's place in the list of ages."""
    if req.queuelist is not None and next.queuelist is not None and time_before(next.fifo_time, req.fifo_time):
        list_replace_init(next, req, "queuelist")
        req.fifo_time = next.fifo_time
    deadline_remove_request(q, next)


def deadline_move_request(dd: deadline_data, rq: request) -> None:
    """Take a request out to be dispatched, and note which one follows it."""
    dd.next_rq[READ] = dd.next_rq[WRITE] = NULL
    dd.next_rq[rq_data_dir(rq)] = deadline_latter_request(rq)
    deadline_remove_request(rq.q, rq)


def deadline_check_fifo(dd: deadline_data, ddir: int) -> int:
    """Whether the oldest request of a direction, which has some, is past its deadline."""
    return time_after_eq(jiffies(), rq_entry_fifo(dd.fifo_list[ddir]).fifo_time)


def deadline_fifo_request(dd: deadline_data, data_dir: int) -> request:
    """The oldest request of a direction, or None."""
    if WARN_ON_ONCE(data_dir not in (READ, WRITE), "a direction is neither READ nor WRITE"):
        return NULL
    return NULL if list_empty(dd.fifo_list[data_dir]) else rq_entry_fifo(dd.fifo_list[data_dir])


def deadline_next_request(dd: deadline_data, data_dir: int) -> request:
    """The request that follows the last dispatched one, if that was of this direction; or None."""
    if WARN_ON_ONCE(data_dir not in (READ, WRITE), "a direction is neither READ nor WRITE"):
        return NULL
    return dd.next_rq[data_dir]


def __dd_dispatch_request(dd: deadline_data) -> request:
    """Choose what is to be done next and take it out. Returns the request, or None when nothing waits."""
    if not list_empty(dd.dispatch):
        rq = list_first_entry(dd.dispatch)
        list_del_init(rq, "queuelist")
        rq.rq_flags |= RQF_STARTED
        return rq

    rq = deadline_next_request(dd, WRITE) or deadline_next_request(dd, READ)
    if not rq or dd.batching >= dd.fifo_batch:
        # The batch is over; another begins, of this direction or the other.
        data_dir = NULL
        if not list_empty(dd.fifo_list[READ]):
            BUG_ON(RB_EMPTY_ROOT(dd.sort_list[READ]), "reads have an age, but no place")
            data_dir = READ
            if deadline_fifo_request(dd, WRITE):
                if dd.starved >= dd.writes_starved & UINT_MAX:  # a negative setting is a very large one
                    data_dir = WRITE
                dd.starved += 1
        elif not list_empty(dd.fifo_list[WRITE]):
            data_dir = WRITE
        if data_dir is None:
            return NULL
        if data_dir == WRITE:
            BUG_ON(RB_EMPTY_ROOT(dd.sort_list[WRITE]), "writes have an age, but no place")
            dd.starved = 0

        rq = deadline_next_request(dd, data_dir)
        if deadline_check_fifo(dd, data_dir) or not rq:
            # Somebody is late, or the last request was the direction's highest, or of the other one.
            rq = deadline_fifo_request(dd, data_dir)
        if not rq:
            return NULL
        dd.batching = 0

    dd.batching += 1
    deadline_move_request(dd, rq)
    rq.rq_flags |= RQF_STARTED
    return rq


def dd_dispatch_request(hctx: blk_mq_hw_ctx) -> request:
    """Give out the next request of the queue. It may belong to another hardware queue than the one that asks."""
    return __dd_dispatch_request(hctx.queue.elevator.elevator_data)


def dd_exit_queue(e: elevator_queue) -> None:
    """Free the scheduler's data; no request may be left."""
    dd = e.elevator_data
    BUG_ON(not list_empty(dd.fifo_list[READ]), "reads are left in a scheduler that ends")
    BUG_ON(not list_empty(dd.fifo_list[WRITE]), "writes are left in a scheduler that ends")
    kfree(dd)


def dd_init_queue(q: request_queue, e: elevator_type) -> int:
    """Begin to schedule a queue. Returns 0 or -ENOMEM; then the queue has no scheduler and nothing is left."""
    if (eq := elevator.elevator_alloc(q, e)) is None:
        return -ENOMEM
    if (dd := kzalloc_node(deadline_data, GFP_KERNEL, q.node)) is None:
        kobject_put(eq.kobj)
        return -ENOMEM
    eq.elevator_data = dd

    dd.fifo_expire[READ], dd.fifo_expire[WRITE] = read_expire, write_expire
    dd.writes_starved, dd.front_merges, dd.fifo_batch = writes_starved, 1, fifo_batch

    q.elevator = eq
    return 0


def dd_request_merge(q: request_queue, bio: bio) -> tuple[int, request]:
    """Look for a request that begins where the bio ends. Returns (ELEVATOR_*, request or None)."""
    dd, sector = q.elevator.elevator_data, bio_end_sector(bio)
    if not dd.front_merges:
        return ELEVATOR_NO_MERGE, NULL
    if rq := elevator.elv_rb_find(dd.sort_list[bio_data_dir(bio)], sector):
        BUG_ON(sector != blk_rq_pos(rq), "a request is in its tree at a place that it has left")
        if elevator.elv_bio_merge_ok(rq, bio):
            return ELEVATOR_FRONT_MERGE, rq
    return ELEVATOR_NO_MERGE, NULL


def dd_bio_merge(q: request_queue, bio: bio, nr_segs: int) -> bool:
    """Try to join a new bio to a request; what that makes superfluous is freed. Returns whether it worked."""
    merged, free = blk_mq_sched.blk_mq_sched_try_merge(q, bio, nr_segs)
    if free:
        blk_mq.blk_mq_free_request(free)
    return merged


def dd_insert_request(hctx: blk_mq_hw_ctx, rq: request, at_head: bool) -> None:
    """Take a request in: into its tree, hash and list of ages; or, at_head or a passthrough one, for dispatch."""
    q = hctx.queue
    dd, data_dir = q.elevator.elevator_data, rq_data_dir(rq)

    if blk_mq_sched.blk_mq_sched_try_insert_merge(q, rq):
        return
    blk_mq_sched.blk_mq_sched_request_inserted(rq)

    if at_head:
        list_add(rq, dd.dispatch, "queuelist")
    elif blk_rq_is_passthrough(rq):
        list_add_tail(rq, dd.dispatch, "queuelist")
    else:
        deadline_add_rq_rb(dd, rq)
        if rq_mergeable(rq):
            elevator.elv_rqhash_add(q, rq)
            if not q.last_merge:
                q.last_merge = rq
        rq.fifo_time = jiffies() + dd.fifo_expire[data_dir]
        list_add_tail(rq, dd.fifo_list[data_dir], "queuelist")


def dd_insert_requests(hctx: blk_mq_hw_ctx, list: list_head, at_head: bool) -> None:
    """Take in all requests of a list, which is empty then."""
    while not list_empty(list):
        rq = list_first_entry(list)
        list_del_init(rq, "queuelist")
        dd_insert_request(hctx, rq, at_head)


def dd_prepare_request(rq: request, bio: bio) -> None:
    """Do nothing; that it is there makes the core call dd_finish_request()."""


def dd_finish_request(rq: request) -> None:
    """A request is done. (It would unlock the zone of a zoned device.)"""


def dd_has_work(hctx: blk_mq_hw_ctx) -> bool:
    """Whether any request waits, for whichever hardware queue."""
    dd = hctx.queue.elevator.elevator_data
    return not (list_empty(dd.dispatch) and list_empty(dd.fifo_list[READ]) and list_empty(dd.fifo_list[WRITE]))


def deadline_var_show(var: int) -> str:
    """The text of a setting."""
    return f"{var}\n"


def deadline_var_store(page: str) -> int:
    """The number that a text begins with, cut to an int; 0 where it does not begin with one."""
    sign = page.startswith("-")
    digits = len(page) - sign - len(page[sign:].lstrip("0123456789"))
    return signed_int(int(page[:sign + digits])) if digits else 0


class deadline_attr(Struct, size=32):
    """A setting that can be read and written in /sys. (In C a pair of functions, which a macro writes out.)

    `setting` is a field of deadline_data, of a direction where it has two. Written values are moved to low..high;
    in_jiffies: it is a time, which user space sees in milliseconds.
    """

    name: str = ""
    setting: str = ""
    direction: int | None = NULL
    low: int = INT_MIN
    high: int = INT_MAX
    in_jiffies: bool = False
    mode: int = 0o644

    def show(self, e: elevator_queue) -> str:
        data = getattr(e.elevator_data, self.setting)
        data = data if self.direction is None else data[self.direction]
        return deadline_var_show(jiffies_to_msecs(data) if self.in_jiffies else data)

    def store(self, e: elevator_queue, page: str, count: int) -> int:
        data = min(max(deadline_var_store(page), self.low), self.high)
        data = msecs_to_jiffies(data) if self.in_jiffies else data
        if self.direction is None:
            setattr(e.elevator_data, self.setting, data)
        else:
            getattr(e.elevator_data, self.setting)[self.direction] = data
        return count


deadline_attrs = (
    deadline_attr("read_expire", "fifo_expire", READ, 0, INT_MAX, True),
    deadline_attr("write_expire", "fifo_expire", WRITE, 0, INT_MAX, True),
    deadline_attr("writes_starved", "writes_starved", None, INT_MIN, INT_MAX, False),
    deadline_attr("front_merges", "front_merges", None, 0, 1, False),
    deadline_attr("fifo_batch", "fifo_batch", None, 0, INT_MAX, False))


class variables(statics):
    """mq_deadline: what this scheduler is. `next_request` and `former_request` come from elevator.c."""

    def __init__(self) -> None:
        self.mq_deadline = elevator_type(
            ops=elevator_mq_ops(
                insert_requests=dd_insert_requests, dispatch_request=dd_dispatch_request,
                prepare_request=dd_prepare_request, finish_request=dd_finish_request,
                next_request=elevator.elv_rb_latter_request, former_request=elevator.elv_rb_former_request,
                bio_merge=dd_bio_merge, request_merge=dd_request_merge, requests_merged=dd_merged_requests,
                request_merged=dd_request_merged, has_work=dd_has_work, init_sched=dd_init_queue,
                exit_sched=dd_exit_queue), elevator_attrs=deadline_attrs, elevator_name="mq-deadline",
            elevator_alias="deadline", elevator_features=ELEVATOR_F_ZBD_SEQ_WRITE)


def deadline_init() -> int:
    """Make the scheduler known. Returns 0 or -errno."""
    return elevator.elv_register(variables().mq_deadline)


module_init(deadline_init)
