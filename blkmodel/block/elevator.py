"""Schedulers of request queues: which there are, which one a queue gets, and what they all need.

A scheduler takes requests in and gives them out in an order of its own. Around it stands what helps to merge:
a hash of requests by the sector at which they end (for what follows them), and trees of requests by the sector
at which they begin. Left out: caches of I/O contexts, which no scheduler of the model has.
"""

from typing import Any

from blkmodel.block import blk_merge, blk_mq, blk_mq_sched
from blkmodel.block.blk_h import ELV_ON_HASH, elevator_exit
from blkmodel.include.linux.blk_mq import BLK_MQ_F_NO_SCHED
from blkmodel.include.linux.blkdev import (RQF_HASHED, bio, bio_mergeable, blk_queue_nomerges, blk_queue_noxmerges,
    blk_queue_registered, blk_rq_pos, queue_is_mq, request, request_queue, rq_mergeable)
from blkmodel.include.linux.elevator import (ELEVATOR_BACK_MERGE, ELEVATOR_NO_MERGE, ELV_NAME_MAX, elevator_queue,
    elevator_type, rb_entry_rq, rq_end_sector)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EBUSY, EINVAL, EIO, ENOENT, GFP_KERNEL, KOBJ_ADD, KOBJ_REMOVE, RB_EMPTY_NODE,
    SPACES, WARN_ON_ONCE, find_by_key, hash_add, hash_del, hash_for_each_possible, insert_by_key, kfree, kobj_type,
    kobject, kobject_add, kobject_del, kobject_init, kobject_put, kobject_uevent, kzalloc_node, list_add_tail,
    list_head, module_put, pr_info, pr_warn, rb_erase, rb_next, rb_prev, rb_root, request_module, sysfs_create_files,
    try_module_get)
from blkmodel.sim import NULL, statics

OMITTED = no_chapter("elevator_get_by_features")


class variables(statics):
    """elv_list: the registered kinds of schedulers, oldest first."""

    def __init__(self) -> None:
        self.elv_list = list_head()


def elv_iosched_allow_bio_merge(rq: request, bio: bio) -> int:
    """Ask the scheduler whether it lets the bio join the request; one without an opinion does."""
    q = rq.q
    e = q.elevator
    return e.type.ops.allow_merge(q, rq, bio) if e.type.ops.allow_merge else True


def elv_bio_merge_ok(rq: request, bio: bio) -> bool:
    """Whether the bio may join the request, as far as their kinds go; where they lie is not looked at."""
    return blk_merge.blk_rq_merge_ok(rq, bio) and bool(elv_iosched_allow_bio_merge(rq, bio))


def elv_support_features(elv_features: int, required_features: int) -> bool:
    """Whether no required feature (ELEVATOR_F_*) is missing."""
    return required_features & elv_features == required_features


def elevator_match(e: elevator_type, name: str, required_features: int) -> bool:
    """Whether a scheduler goes by that name or alias, and has the features."""
    if not elv_support_features(e.elevator_features, required_features):
        return False
    return name in (e.elevator_name, e.elevator_alias)


def elevator_find(name: str, required_features: int) -> elevator_type:
    """The first registered scheduler that matches, or None."""
    return next((e for e in variables().elv_list if elevator_match(e, name, required_features)), NULL)


def elevator_put(e: elevator_type) -> None:
    """Let the scheduler's module go."""
    module_put(e.elevator_owner)


def elevator_get(q: request_queue, name: str, try_loading: bool) -> elevator_type:
    """Find a scheduler for the queue and hold its module; try_loading: ask for the module if it is not there.

    Returns the elevator_type or None.
    """
    if not (e := elevator_find(name, q.required_elevator_features)) and try_loading:
        request_module(f"{name}-iosched")
        e = elevator_find(name, q.required_elevator_features)
    if e and not try_module_get(e.elevator_owner):
        e = NULL
    return e


def elevator_alloc(q: request_queue, e: elevator_type) -> elevator_queue:
    """Allocate what stands for a scheduler of kind `e` at work on the queue. Returns the elevator_queue or None."""
    if (eq := kzalloc_node(elevator_queue, GFP_KERNEL, q.node)) is None:
        return NULL
    eq.type = e
    kobject_init(eq.kobj, elv_ktype, eq)
    return eq


def elevator_release(kobj: kobject) -> None:
    """Free an elevator_queue that nobody holds any more."""
    e = kobj._owner
    elevator_put(e.type)
    kfree(e)


def __elevator_exit(q: request_queue, e: elevator_queue) -> None:
    """End a scheduler's work on the queue, and drop the queue's hold on it."""
    with e.sysfs_lock:
        if e.type.ops.exit_sched:
            blk_mq_sched.blk_mq_exit_sched(q, e)
    kobject_put(e.kobj)


def __elv_rqhash_del(rq: request) -> None:
    """Take a request out of the merge hash, in which it is."""
    hash_del(rq, "hash")
    rq.rq_flags &= ~RQF_HASHED


def elv_rqhash_del(q: request_queue, rq: request) -> None:
    """Take a request out of the merge hash, if it is there."""
    if ELV_ON_HASH(rq):
        __elv_rqhash_del(rq)


def elv_rqhash_add(q: request_queue, rq: request) -> None:
    """Put a request into the merge hash, by the sector at which it ends now."""
    BUG_ON(ELV_ON_HASH(rq), "a request was hashed twice")
    hash_add(q.elevator.hash, rq, "hash", rq_end_sector(rq))
    rq.rq_flags |= RQF_HASHED


def elv_rqhash_reposition(q: request_queue, rq: request) -> None:
    """Hash a request anew, after its end has moved."""
    __elv_rqhash_del(rq)
    elv_rqhash_add(q, rq)


def elv_rqhash_find(q: request_queue, offset: int) -> request:
    """A request that ends at sector `offset` and can be merged with, or None.

    Those that can no longer be merged with are dropped from the hash on the way.
    """
    for rq in hash_for_each_possible(q.elevator.hash, offset):
        BUG_ON(not ELV_ON_HASH(rq), "a request in the merge hash does not know of it")
        if not rq_mergeable(rq):
            __elv_rqhash_del(rq)
            continue
        if rq_end_sector(rq) == offset:
            return rq
    return NULL


def elv_rb_add(root: rb_root, rq: request) -> None:
    """Put a request into a tree by its first sector, behind those that begin at the same one."""
    insert_by_key(root, rq, "rb_node", blk_rq_pos(rq))


def elv_rb_del(root: rb_root, rq: request) -> None:
    """Take a request out of its tree."""
    BUG_ON(RB_EMPTY_NODE(rq.rb_node), "a request is in no tree")
    rb_erase(rq.rb_node, root, "rb_node")


def elv_rb_find(root: rb_root, sector: int) -> request:
    """A request in the tree that begins at this sector, of several the nearest to the tree's top; or None."""
    return rb_entry_rq(find_by_key(root, sector))


def elv_merge(q: request_queue, bio: bio) -> tuple[int, request]:
    """Look for a request that the bio can join.

    A queue may forbid all merging (nomerges), or all but with the request that was merged last (noxmerges).
    Returns (ELEVATOR_*, request); the request is None with ELEVATOR_NO_MERGE.
    """
    e = q.elevator
    if blk_queue_nomerges(q) or not bio_mergeable(bio):
        return ELEVATOR_NO_MERGE, NULL

    if q.last_merge and elv_bio_merge_ok(q.last_merge, bio):
        if (ret := blk_merge.blk_try_merge(q.last_merge, bio)) != ELEVATOR_NO_MERGE:
            return ret, q.last_merge

    if blk_queue_noxmerges(q):
        return ELEVATOR_NO_MERGE, NULL

    if (rq := elv_rqhash_find(q, bio.bi_iter.bi_sector)) and elv_bio_merge_ok(rq, bio):
        return ELEVATOR_BACK_MERGE, rq

    return e.type.ops.request_merge(q, bio) if e.type.ops.request_merge else (ELEVATOR_NO_MERGE, NULL)


def elv_attempt_insert_merge(q: request_queue, rq: request) -> bool:
    """Try to append a new request to one that is already there, and that to another, as long as it works.

    Returns whether `rq` was taken up; it is done with then.
    """
    if blk_queue_nomerges(q):
        return False
    if q.last_merge and blk_merge.blk_attempt_req_merge(q, q.last_merge, rq):
        return True
    if blk_queue_noxmerges(q):
        return False

    merged = False
    while True:
        if not (before := elv_rqhash_find(q, blk_rq_pos(rq))) or not blk_merge.blk_attempt_req_merge(q, before, rq):
            return merged
        merged, rq = True, before


def elv_merged_request(q: request_queue, rq: request, type: int) -> None:
    """A bio has joined the request: tell the scheduler, and put the hash right."""
    e = q.elevator
    if e.type.ops.request_merged:
        e.type.ops.request_merged(q, rq, type)
    if type == ELEVATOR_BACK_MERGE:
        elv_rqhash_reposition(q, rq)
    q.last_merge = rq


def elv_merge_requests(q: request_queue, rq: request, next: request) -> None:
    """`rq` has taken up `next`: tell the scheduler, and put the hash right."""
    e = q.elevator
    if e.type.ops.requests_merged:
        e.type.ops.requests_merged(q, rq, next)
    elv_rqhash_reposition(q, rq)
    q.last_merge = rq


def elv_latter_request(q: request_queue, rq: request) -> request:
    """The request that the scheduler has behind this one on the disk, or None."""
    e = q.elevator
    return e.type.ops.next_request(q, rq) if e.type.ops.next_request else NULL


def elv_former_request(q: request_queue, rq: request) -> request:
    """The request that the scheduler has before this one on the disk, or None."""
    e = q.elevator
    return e.type.ops.former_request(q, rq) if e.type.ops.former_request else NULL


def elv_attr_show(kobj: kobject, attr: Any) -> str | int:
    """Read a scheduler's file in /sys. Returns its text, or -errno."""
    if not attr.show:
        return -EIO
    e = kobj._owner
    with e.sysfs_lock:
        return attr.show(e) if e.type else -ENOENT


def elv_attr_store(kobj: kobject, attr: Any, page: str, length: int) -> int:
    """Write a scheduler's file in /sys. Returns the bytes taken, or -errno."""
    if not attr.store:
        return -EIO
    e = kobj._owner
    with e.sysfs_lock:
        return attr.store(e, page, length) if e.type else -ENOENT


elv_ktype = kobj_type(release=elevator_release)


def elv_register_queue(q: request_queue, uevent: bool) -> int:
    """Show the queue's scheduler and its files in /sys, below the queue, as `iosched`. Returns 0 or -errno."""
    e = q.elevator
    if not (error := kobject_add(e.kobj, q.kobj, "iosched")):
        sysfs_create_files(e.kobj, e.type.elevator_attrs)
        if uevent:
            kobject_uevent(e.kobj, KOBJ_ADD)
        e.registered = 1
    return error


def elv_unregister_queue(q: request_queue) -> None:
    """Take the queue's scheduler out of /sys."""
    if q:
        e = q.elevator
        kobject_uevent(e.kobj, KOBJ_REMOVE)
        kobject_del(e.kobj)
        e.registered = 0


def elv_register(e: elevator_type) -> int:
    """Make a kind of scheduler known. Returns 0, or -EBUSY where there is one of that name."""
    if elevator_find(e.elevator_name, 0):
        return -EBUSY
    list_add_tail(e, variables().elv_list, "list")
    pr_info(f"io scheduler {e.elevator_name} registered")
    return 0


def elevator_switch_mq(q: request_queue, new_e: elevator_type) -> int:
    """End the queue's scheduler and begin with another (None: with none), on a queue that is still.

    Returns 0 or -errno; the queue has no scheduler then.
    """
    if q.elevator:
        if q.elevator.registered:
            elv_unregister_queue(q)
        elevator_exit(q, q.elevator)

    if ret := blk_mq_sched.blk_mq_init_sched(q, new_e):
        return ret
    if new_e:
        if ret := elv_register_queue(q, True):
            elevator_exit(q, q.elevator)
    return ret


def elv_support_iosched(q: request_queue) -> bool:
    """Whether the queue can have a scheduler: it has hardware queues, and its driver does not refuse."""
    return queue_is_mq(q) and not (q.tag_set and q.tag_set.flags & BLK_MQ_F_NO_SCHED)


def elevator_get_default(q: request_queue) -> elevator_type:
    """The scheduler that a queue begins with: mq-deadline for a single hardware queue, none (None) for more."""
    return NULL if q.nr_hw_queues != 1 else elevator_get(q, "mq-deadline", False)


def elevator_init_mq(q: request_queue) -> None:
    """Give a new queue its first scheduler. When that can't be set up, the queue does without."""
    if not elv_support_iosched(q):
        return
    WARN_ON_ONCE(blk_queue_registered(q), "a queue that is in /sys gets its first scheduler")
    if q.elevator:
        return

    # Left out: a queue that requires features (a zoned device's) gets the first scheduler that has them.
    if not (e := elevator_get_default(q)):
        return

    blk_mq.blk_mq_freeze_queue(q)
    blk_mq.blk_mq_quiesce_queue(q)
    err = blk_mq_sched.blk_mq_init_sched(q, e)
    blk_mq.blk_mq_unquiesce_queue(q)
    blk_mq.blk_mq_unfreeze_queue(q)

    if err:
        pr_warn(f'"{e.elevator_name}" elevator initialization failed, falling back to "none"')
        elevator_put(e)


def elevator_switch(q: request_queue, new_e: elevator_type) -> int:
    """Stop the queue, change its scheduler, let it run again. Returns 0 or -errno."""
    blk_mq.blk_mq_freeze_queue(q)
    blk_mq.blk_mq_quiesce_queue(q)
    err = elevator_switch_mq(q, new_e)
    blk_mq.blk_mq_unquiesce_queue(q)
    blk_mq.blk_mq_unfreeze_queue(q)
    return err


def __elevator_change(q: request_queue, name: str) -> int:
    """Change the queue's scheduler to the one of that name; `none` is none.

    Returns 0 (also where it has that one), -ENOENT for a queue that is going away, -EINVAL for an unknown name.
    """
    if not blk_queue_registered(q):
        return -ENOENT
    if name.startswith("none"):
        return elevator_switch(q, NULL) if q.elevator else 0

    elevator_name = name[:ELV_NAME_MAX - 1].strip(SPACES)
    if not (e := elevator_get(q, elevator_name, True)):
        return -EINVAL
    if q.elevator and elevator_match(q.elevator.type, elevator_name, 0):
        elevator_put(e)
        return 0
    return elevator_switch(q, e)


def elv_iosched_store(q: request_queue, name: str, count: int) -> int:
    """Write the queue's file `scheduler`. Returns `count`, or -errno; a queue that can have none takes any name."""
    if not queue_is_mq(q) or not elv_support_iosched(q):
        return count
    return __elevator_change(q, name) or count


def elv_iosched_show(q: request_queue) -> str:
    """Read the queue's file `scheduler`: the names that could be written there, the present one in brackets."""
    if not queue_is_mq(q):
        return "none\n"
    elv = q.elevator.type if q.elevator else NULL
    words = [] if elv else ["[none]"]
    for e in variables().elv_list:
        if elv and elevator_match(elv, e.elevator_name, 0):
            words.append(f"[{elv.elevator_name}]")
        elif elv_support_iosched(q) and elevator_match(e, e.elevator_name, q.required_elevator_features):
            words.append(e.elevator_name)
    if elv:
        words.append("none")
        return " ".join(words) + "\n"
    return " ".join(words) + " \n"


def elv_rb_former_request(q: request_queue, rq: request) -> request:
    """The request before this one in its tree, or None."""
    return rb_entry_rq(rb_prev(rq.rb_node))


def elv_rb_latter_request(q: request_queue, rq: request) -> request:
    """The request after this one in its tree, or None."""
    return rb_entry_rq(rb_next(rq.rb_node))
