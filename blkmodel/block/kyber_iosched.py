"""The Kyber scheduler: reads, writes, discards and the rest each have so many requests in the device at most.

Who may dispatch holds a token of its domain. Requests wait by domain and by the CPU that made them, and are taken in
batches from one domain after the other. A timer looks at how long requests took: where the device is congested, domains
that are well within their target get fewer tokens, and one that misses its target gets more.
Left out: what debugfs shows.
"""

from dataclasses import field

from blkmodel.block import blk_mq, blk_stat, elevator, mq_deadline
from blkmodel.block.blk_mq_h import blk_mq_alloc_data, blk_mq_get_ctx, blk_mq_map_queue
from blkmodel.block.blk_mq_sched import blk_mq_bio_list_merge, blk_mq_sched_request_inserted
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import (REQ_OP_DISCARD, REQ_OP_MASK, REQ_OP_READ, REQ_OP_WRITE, bio, op_is_sync,
    request, request_queue)
from blkmodel.include.linux.elevator import elevator_mq_ops, elevator_queue, elevator_type
from blkmodel.include.linux.sbitmap import (sbitmap, sbitmap_clear_bit, sbitmap_for_each_set, sbitmap_free,
    sbitmap_queue, sbitmap_queue_free, sbitmap_set_bit, sbq_wait, sbq_wait_ptr, sbq_wait_state)
from blkmodel.lib.sbitmap import (__sbitmap_queue_get, sbitmap_add_wait_queue, sbitmap_any_bit_set,
    sbitmap_del_wait_queue, sbitmap_init_node, sbitmap_queue_clear, sbitmap_queue_init_node,
    sbitmap_queue_min_shallow_depth, sbitmap_queue_resize)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (ENOMEM, ERR_PTR, GFP_KERNEL, HZ, IS_ERR, PTR_ERR, alloc_percpu_gfp, del_timer_sync,
    for_each_online_cpu, free_percpu, init_waitqueue_func_entry, jiffies, kcalloc_node, kfree, kobject_put, kstrtoul,
    kzalloc_node, list_del_init, list_empty, list_first_entry, list_head, list_move, list_move_tail,
    list_splice_tail_init, module_init, smp_processor_id, time_before, timer_list, timer_reduce, timer_setup,
    wait_queue_entry)
from blkmodel.sim import NULL, Array, Struct, statics

OMITTED = no_chapter("kyber_batching_show kyber_cur_domain_show")
KYBER_READ, KYBER_WRITE, KYBER_DISCARD, KYBER_OTHER = range(4)
KYBER_NUM_DOMAINS = 4
KYBER_ASYNC_PERCENT = 75
kyber_depth = (256, 128, 64, 16)
kyber_latency_targets = (2_000_000, 10_000_000, 5_000_000_000)
kyber_batch_size = (16, 8, 1, 1)
KYBER_LATENCY_SHIFT = 2
KYBER_GOOD_BUCKETS, KYBER_LATENCY_BUCKETS = 1 << KYBER_LATENCY_SHIFT, 2 << KYBER_LATENCY_SHIFT
KYBER_TOTAL_LATENCY, KYBER_IO_LATENCY = 0, 1


class kyber_cpu_latency(Struct, size=192):
    """How many requests took how long, of those that completed on one CPU: by domain, by KYBER_*_LATENCY, by quarters
    of the domain's target."""

    buckets: list[list[list[int]]] = field(
        default_factory=lambda: [[[0] * KYBER_LATENCY_BUCKETS for _ in range(2)] for _ in range(KYBER_OTHER)])


class kyber_ctx_queue(Struct, size=128):
    """What waits of one software queue of a hardware queue, by domain."""

    rq_list: list[list_head] = field(default_factory=lambda: [list_head() for _ in range(KYBER_NUM_DOMAINS)])


class kyber_queue_data(Struct, size=576):
    """One queue's Kyber. A request under way holds a bit of its domain's domain_tokens.

    async_depth: how many bits of a word of the scheduler's tags asynchronous requests may take. latency_buckets: the
    sums of cpu_latency; they are looked at when there are 500, or at latency_timeout. domain_p99: in which quarter of
    its target 99 % of a domain were done, until that was acted on; -1 for not known. latency_targets: nanoseconds.
    """

    q: request_queue = NULL
    domain_tokens: list[sbitmap_queue] = field(
        default_factory=lambda: [sbitmap_queue() for _ in range(KYBER_NUM_DOMAINS)])
    async_depth: int = 0
    cpu_latency: Array = NULL
    timer: timer_list = field(default_factory=timer_list)
    latency_buckets: list[list[list[int]]] = field(
        default_factory=lambda: [[[0] * KYBER_LATENCY_BUCKETS for _ in range(2)] for _ in range(KYBER_OTHER)])
    latency_timeout: list[int] = field(default_factory=lambda: [0] * KYBER_OTHER)
    domain_p99: list[int] = field(default_factory=lambda: [0] * KYBER_OTHER)
    latency_targets: list[int] = field(default_factory=lambda: [0] * KYBER_OTHER)


class kyber_hctx_data(Struct, size=424):
    """One hardware queue's Kyber, in lists by domain. rqs: what was taken from the software queues (kcqs; kcq_map says
    which of them have any) and waits for a token. cur_domain has dispatched `batching` in a row. domain_wait: how the
    queue waits for a token, in domain_ws; wait_index: in which wait queue it will be the next time."""

    rqs: list[list_head] = field(default_factory=lambda: [list_head() for _ in range(KYBER_NUM_DOMAINS)])
    cur_domain: int = 0
    batching: int = 0
    kcqs: Array = NULL
    kcq_map: list[sbitmap] = field(default_factory=lambda: [sbitmap() for _ in range(KYBER_NUM_DOMAINS)])
    domain_wait: list[sbq_wait] = field(default_factory=lambda: [sbq_wait() for _ in range(KYBER_NUM_DOMAINS)])
    domain_ws: list[sbq_wait_state] = field(default_factory=lambda: [NULL] * KYBER_NUM_DOMAINS)
    wait_index: list[int] = field(default_factory=lambda: [0] * KYBER_NUM_DOMAINS)


def kyber_sched_domain(op: int) -> int:
    """The domain of an operation."""
    return {REQ_OP_READ: KYBER_READ, REQ_OP_WRITE: KYBER_WRITE, REQ_OP_DISCARD: KYBER_DISCARD}.get(
        op & REQ_OP_MASK, KYBER_OTHER)


def flush_latency_buckets(kqd: kyber_queue_data, cpu_latency: kyber_cpu_latency, sched_domain: int, type: int) -> None:
    """Add what one CPU counted to the queue's sums, and begin to count anew."""
    buckets, cpu_buckets = kqd.latency_buckets[sched_domain][type], cpu_latency.buckets[sched_domain][type]
    for bucket in range(KYBER_LATENCY_BUCKETS):
        buckets[bucket] += cpu_buckets[bucket]
        cpu_buckets[bucket] = 0


def calculate_percentile(kqd: kyber_queue_data, sched_domain: int, type: int, percentile: int) -> int:
    """In which quarter of the target (0: the first) so many percent were done; the sums begin anew then.

    Returns -1 while there are fewer than 500, and the first of them is not a second old.
    """
    buckets = kqd.latency_buckets[sched_domain][type]
    if not (samples := sum(buckets)):
        return -1
    if not kqd.latency_timeout[sched_domain]:
        kqd.latency_timeout[sched_domain] = max(jiffies() + HZ, 1)
    if samples < 500 and time_before(jiffies(), kqd.latency_timeout[sched_domain]):
        return -1
    kqd.latency_timeout[sched_domain] = 0
    left = -(-samples * percentile // 100)
    bucket = 0
    while bucket < KYBER_LATENCY_BUCKETS - 1 and buckets[bucket] < left:
        left -= buckets[bucket]
        bucket += 1
    buckets[:] = [0] * KYBER_LATENCY_BUCKETS
    return bucket


def kyber_resize_domain(kqd: kyber_queue_data, sched_domain: int, depth: int) -> None:
    """Give a domain so many tokens, from one to what it began with."""
    if (depth := min(max(depth, 1), kyber_depth[sched_domain])) != kqd.domain_tokens[sched_domain].sb.depth:
        sbitmap_queue_resize(kqd.domain_tokens[sched_domain], depth)


def kyber_timer_fn(t: timer_list) -> None:
    """Look at how long requests took, and give domains more or fewer tokens.

    The device is congested where 90 % of a domain were not within the target while the device had them. Then each
    domain's tokens are scaled by how 99 % of it, waiting included, stood to the target; a domain that missed its
    target gets more in any case.
    """
    kqd = t.data
    for cpu in for_each_online_cpu():
        for sched_domain in range(KYBER_OTHER):
            flush_latency_buckets(kqd, kqd.cpu_latency[cpu], sched_domain, KYBER_TOTAL_LATENCY)
            flush_latency_buckets(kqd, kqd.cpu_latency[cpu], sched_domain, KYBER_IO_LATENCY)
    bad = False
    for sched_domain in range(KYBER_OTHER):
        if calculate_percentile(kqd, sched_domain, KYBER_IO_LATENCY, 90) >= KYBER_GOOD_BUCKETS:
            bad = True
    for sched_domain in range(KYBER_OTHER):
        p99 = calculate_percentile(kqd, sched_domain, KYBER_TOTAL_LATENCY, 99)
        # Domains do not have enough samples all at once: what was found is kept until it is used, once.
        if bad:
            if p99 < 0:
                p99 = kqd.domain_p99[sched_domain]
            kqd.domain_p99[sched_domain] = -1
        elif p99 >= 0:
            kqd.domain_p99[sched_domain] = p99
        if p99 >= 0 and (bad or p99 >= KYBER_GOOD_BUCKETS):
            orig_depth = kqd.domain_tokens[sched_domain].sb.depth
            kyber_resize_domain(kqd, sched_domain, orig_depth * (p99 + 1) >> KYBER_LATENCY_SHIFT)


def kyber_sched_tags_shift(q: request_queue) -> int:
    """How many bits a word of the scheduler's tags has, as a power of two: the same in all hardware queues."""
    return q.queue_hw_ctx[0].sched_tags.bitmap_tags.sb.shift


def kyber_queue_data_alloc(q: request_queue) -> kyber_queue_data:
    """Allocate a queue's Kyber. Returns it, or ERR_PTR(-ENOMEM); then nothing is left allocated."""
    if (kqd := kzalloc_node(kyber_queue_data, GFP_KERNEL, q.node)) is None:
        return ERR_PTR(-ENOMEM)
    kqd.q = q
    kqd.cpu_latency = alloc_percpu_gfp(kyber_cpu_latency, GFP_KERNEL)
    if kqd.cpu_latency is None:
        kfree(kqd)
        return ERR_PTR(-ENOMEM)
    timer_setup(kqd.timer, kyber_timer_fn, 0, kqd)
    for i in range(KYBER_NUM_DOMAINS):
        if ret := sbitmap_queue_init_node(kqd.domain_tokens[i], kyber_depth[i], -1, False, GFP_KERNEL, q.node):
            for made in reversed(range(i)):
                sbitmap_queue_free(kqd.domain_tokens[made])
            free_percpu(kqd.cpu_latency)
            kfree(kqd)
            return ERR_PTR(ret)
    for i in range(KYBER_OTHER):
        kqd.domain_p99[i], kqd.latency_targets[i] = -1, kyber_latency_targets[i]
    kqd.async_depth = (1 << kyber_sched_tags_shift(q)) * KYBER_ASYNC_PERCENT // 100
    return kqd


def kyber_init_sched(q: request_queue, e: elevator_type) -> int:
    """Begin to schedule a queue. Returns 0 or -ENOMEM; then the queue has no scheduler and nothing is left."""
    if (eq := elevator.elevator_alloc(q, e)) is None:
        return -ENOMEM
    if IS_ERR(kqd := kyber_queue_data_alloc(q)):
        kobject_put(eq.kobj)
        return PTR_ERR(kqd)
    blk_stat.blk_stat_enable_accounting(q)
    eq.elevator_data = kqd
    q.elevator = eq
    return 0


def kyber_exit_sched(e: elevator_queue) -> None:
    """Free the scheduler's data; no request may be left. Requests are timed ever after all the same."""
    kqd = e.elevator_data
    del_timer_sync(kqd.timer)
    for tokens in kqd.domain_tokens:
        sbitmap_queue_free(tokens)
    free_percpu(kqd.cpu_latency)
    kfree(kqd)


def kyber_ctx_queue_init(kcq: kyber_ctx_queue) -> None:
    """Let nothing wait of a software queue."""
    for rq_list in kcq.rq_list:
        rq_list.entries.clear()


def kyber_init_hctx(hctx: blk_mq_hw_ctx, hctx_idx: int) -> int:
    """Begin to schedule a hardware queue. Returns 0 or -ENOMEM; then nothing is left allocated."""
    kqd = hctx.queue.elevator.elevator_data
    if (khd := kzalloc_node(kyber_hctx_data, GFP_KERNEL, hctx.numa_node)) is None:
        return -ENOMEM
    khd.kcqs = kcalloc_node(hctx.nr_ctx, kyber_ctx_queue, GFP_KERNEL, hctx.numa_node)
    if khd.kcqs is None:
        kfree(khd)
        return -ENOMEM
    for i in range(hctx.nr_ctx):
        kyber_ctx_queue_init(khd.kcqs[i])
    for i in range(KYBER_NUM_DOMAINS):
        if sbitmap_init_node(khd.kcq_map[i], hctx.nr_ctx, 3, GFP_KERNEL, hctx.numa_node):
            for made in reversed(range(i)):
                sbitmap_free(khd.kcq_map[made])
            kfree(khd.kcqs)
            kfree(khd)
            return -ENOMEM
    for wait in khd.domain_wait:
        init_waitqueue_func_entry(wait.wait, kyber_domain_wake)
        wait.wait.private = hctx
    hctx.sched_data = khd
    sbitmap_queue_min_shallow_depth(hctx.sched_tags.bitmap_tags, kqd.async_depth)
    return 0


def kyber_exit_hctx(hctx: blk_mq_hw_ctx, hctx_idx: int) -> None:
    """Free what kyber_init_hctx() allocated for a hardware queue."""
    khd = hctx.sched_data
    for kcq_map in khd.kcq_map:
        sbitmap_free(kcq_map)
    kfree(khd.kcqs)
    kfree(khd)


def rq_get_domain_token(rq: request) -> int:
    """The token that a request holds, or -1."""
    return rq.elv


def rq_set_domain_token(rq: request, token: int) -> None:
    """Let a request hold a token, or (-1) none. (In C it is in the first of two private pointers.)"""
    rq.elv = token


def rq_clear_domain_token(kqd: kyber_queue_data, rq: request) -> None:
    """Give a request's token back, if it holds one."""
    if (nr := rq_get_domain_token(rq)) != -1:
        sbitmap_queue_clear(kqd.domain_tokens[kyber_sched_domain(rq.cmd_flags)], nr, rq.mq_ctx.cpu)


def kyber_limit_depth(op: int, data: blk_mq_alloc_data) -> None:
    """Let asynchronous requests have three quarters of the scheduler's tags, so that they keep no others out."""
    if not op_is_sync(op):
        data.shallow_depth = data.q.elevator.elevator_data.async_depth


def kyber_bio_merge(q: request_queue, bio: bio, nr_segs: int) -> bool:
    """Try to join a new bio to a request that waits in this CPU's software queue. Returns whether it worked."""
    ctx = blk_mq_get_ctx(q)
    hctx = blk_mq_map_queue(q, bio.bi_opf, ctx)
    kcq = hctx.sched_data.kcqs[ctx.index_hw[hctx.type]]
    return blk_mq_bio_list_merge(hctx.queue, kcq.rq_list[kyber_sched_domain(bio.bi_opf)], bio, nr_segs)


def kyber_prepare_request(rq: request, bio: bio) -> None:
    """A new request holds no token yet."""
    rq_set_domain_token(rq, -1)


def kyber_insert_requests(hctx: blk_mq_hw_ctx, rq_list: list_head, at_head: bool) -> None:
    """Take in all requests of a list, which is empty then: each into the software queue that it came from."""
    khd = hctx.sched_data
    for rq in rq_list:
        sched_domain, index = kyber_sched_domain(rq.cmd_flags), rq.mq_ctx.index_hw[hctx.type]
        (list_move if at_head else list_move_tail)(rq, khd.kcqs[index].rq_list[sched_domain], "queuelist")
        sbitmap_set_bit(khd.kcq_map[sched_domain], index)
        blk_mq_sched_request_inserted(rq)


def kyber_finish_request(rq: request) -> None:
    """A request is done, or has to wait for another try: it gives its token back."""
    rq_clear_domain_token(rq.q.elevator.elevator_data, rq)


def add_latency_sample(cpu_latency: kyber_cpu_latency, sched_domain: int, type: int, target: int, latency: int) -> None:
    """Count a request that took so many nanoseconds."""
    bucket = min((latency - 1) // max(target >> KYBER_LATENCY_SHIFT, 1), KYBER_LATENCY_BUCKETS - 1) if latency else 0
    cpu_latency.buckets[sched_domain][type][bucket] += 1


def kyber_completed_request(rq: request, now: int) -> None:
    """Count how long a request took, and have that looked at within a tenth of a second."""
    kqd = rq.q.elevator.elevator_data
    if (sched_domain := kyber_sched_domain(rq.cmd_flags)) == KYBER_OTHER:
        return
    cpu_latency = kqd.cpu_latency[smp_processor_id()]
    target = kqd.latency_targets[sched_domain]
    add_latency_sample(cpu_latency, sched_domain, KYBER_TOTAL_LATENCY, target, now - rq.start_time_ns)
    add_latency_sample(cpu_latency, sched_domain, KYBER_IO_LATENCY, target, now - rq.io_start_time_ns)
    timer_reduce(kqd.timer, jiffies() + HZ // 10)


def flush_busy_kcq(sb: sbitmap, bitnr: int, data: tuple[kyber_hctx_data, int, list_head]) -> bool:
    """Take all that waits in a software queue in one domain. data: (hardware queue's Kyber, domain, list to add to)."""
    khd, sched_domain, rqs = data
    list_splice_tail_init(khd.kcqs[bitnr].rq_list[sched_domain], rqs, "queuelist")
    sbitmap_clear_bit(sb, bitnr)
    return True


def kyber_flush_busy_kcqs(khd: kyber_hctx_data, sched_domain: int, list: list_head) -> None:
    """Take all that waits in any software queue in one domain, and add it to a list."""
    sbitmap_for_each_set(khd.kcq_map[sched_domain], flush_busy_kcq, (khd, sched_domain, list))


def kyber_domain_wake(wqe: wait_queue_entry) -> int:
    """A token was given back for which a hardware queue waits: run that. Returns 1."""
    hctx = wqe.private
    sbitmap_del_wait_queue(next(wait for wait in hctx.sched_data.domain_wait if wait.wait is wqe))
    blk_mq.blk_mq_run_hw_queue(hctx, True)
    return 1


def kyber_get_domain_token(kqd: kyber_queue_data, khd: kyber_hctx_data, hctx: blk_mq_hw_ctx) -> int:
    """Take a token of the current domain. Returns it, or -1; then the hardware queue will be run once there is one."""
    sched_domain = khd.cur_domain
    domain_tokens, wait = kqd.domain_tokens[sched_domain], khd.domain_wait[sched_domain]
    if (nr := __sbitmap_queue_get(domain_tokens)) < 0 and wait.wait.entry is None:
        ws, khd.wait_index[sched_domain] = sbq_wait_ptr(domain_tokens, khd.wait_index[sched_domain])
        khd.domain_ws[sched_domain] = ws
        sbitmap_add_wait_queue(domain_tokens, ws, wait)
        # One may have been given back before anybody stood in the queue.
        nr = __sbitmap_queue_get(domain_tokens)
    if nr >= 0 and wait.wait.entry is not None:
        # Who is woken and needs no token any more would let somebody else sleep on.
        sbitmap_del_wait_queue(wait)
    return nr


def kyber_dispatch_cur_domain(kqd: kyber_queue_data, khd: kyber_hctx_data, hctx: blk_mq_hw_ctx) -> request:
    """Give out the next request of the current domain, with a token. Returns None without one of either.

    Software queues are emptied only where there is a token: what stays in them can still be merged with.
    """
    rqs = khd.rqs[khd.cur_domain]
    waiting = not list_empty(rqs)
    if not waiting and not sbitmap_any_bit_set(khd.kcq_map[khd.cur_domain]):
        return NULL
    if (nr := kyber_get_domain_token(kqd, khd, hctx)) < 0:
        return NULL
    if not waiting:
        kyber_flush_busy_kcqs(khd, khd.cur_domain, rqs)
    rq = list_first_entry(rqs)
    khd.batching += 1
    rq_set_domain_token(rq, nr)
    list_del_init(rq, "queuelist")
    return rq


def kyber_dispatch_request(hctx: blk_mq_hw_ctx) -> request:
    """Give out the next request of a hardware queue, or None: of the current domain while its batch lasts, then of the
    first after it that has both a request and a token."""
    kqd, khd = hctx.queue.elevator.elevator_data, hctx.sched_data
    if khd.batching < kyber_batch_size[khd.cur_domain]:
        if rq := kyber_dispatch_cur_domain(kqd, khd, hctx):
            return rq
    khd.batching = 0
    for _ in range(KYBER_NUM_DOMAINS):
        khd.cur_domain = (khd.cur_domain + 1) % KYBER_NUM_DOMAINS
        if rq := kyber_dispatch_cur_domain(kqd, khd, hctx):
            return rq
    return NULL


def kyber_has_work(hctx: blk_mq_hw_ctx) -> bool:
    """Whether any request waits for a hardware queue."""
    khd = hctx.sched_data
    return any(not list_empty(khd.rqs[i]) or sbitmap_any_bit_set(khd.kcq_map[i]) for i in range(KYBER_NUM_DOMAINS))


class kyber_attr(Struct, size=32):
    """A domain's target in /sys, in nanoseconds. (In C a pair of functions, which a macro writes out.)"""

    name: str = ""
    domain: int = 0
    mode: int = 0o644

    def show(self, e: elevator_queue) -> str:
        return f"{e.elevator_data.latency_targets[self.domain]}\n"

    def store(self, e: elevator_queue, page: str, count: int) -> int:
        ret, nsec = kstrtoul(page, 10)
        if not ret:
            e.elevator_data.latency_targets[self.domain] = nsec
        return ret or count


kyber_sched_attrs = kyber_attr("read_lat_nsec", KYBER_READ), kyber_attr("write_lat_nsec", KYBER_WRITE)


class variables(statics):
    """kyber_sched: what this scheduler is."""

    def __init__(self) -> None:
        self.kyber_sched = elevator_type(
            ops=elevator_mq_ops(
                init_sched=kyber_init_sched, exit_sched=kyber_exit_sched, init_hctx=kyber_init_hctx,
                exit_hctx=kyber_exit_hctx, limit_depth=kyber_limit_depth, bio_merge=kyber_bio_merge,
                prepare_request=kyber_prepare_request, insert_requests=kyber_insert_requests,
                finish_request=kyber_finish_request, requeue_request=kyber_finish_request,
                completed_request=kyber_completed_request, dispatch_request=kyber_dispatch_request,
                has_work=kyber_has_work), elevator_attrs=kyber_sched_attrs, elevator_name="kyber")


def kyber_init() -> int:
    """Make the scheduler known. Returns 0 or -errno."""
    return elevator.elv_register(variables().kyber_sched)


module_init(kyber_init, mq_deadline.__name__)  # as they stand in the Makefile
