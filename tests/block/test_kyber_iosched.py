"""Kyber: calls as recorded, tokens, batches, what the timer does of latencies, and what a failure leaves."""

from collections import Counter

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.block import blk_mq, kyber_iosched as kyber
from blkmodel.include.linux.blk_types import REQ_OP_DISCARD, REQ_OP_FLUSH, REQ_OP_READ, REQ_OP_WRITE, REQ_SYNC
from blkmodel.include.linux.blkdev import QUEUE_FLAG_STATS, test_bit as has_flag
from blkmodel.lib.sbitmap import sbitmap_cleared, sbitmap_weight
from blkmodel.services.data.list import list_add_tail, list_head
from blkmodel.services.tasks.timer import timer_pending
from blkmodel.trace import Call, record

MS = 1_000_000


@pytest.fixture
def kernel():
    kernel = boot(4)
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=32)
    scenario.set_scheduler("nullb0", "none")
    return kernel


def data():
    return scenario.disk("nullb0").queue.elevator.elevator_data


def hctx(disk="nullb0"):
    return scenario.disk(disk).queue.queue_hw_ctx[0]


def of_kyber(recording):
    kybers = {name for name in vars(kyber) if callable(getattr(kyber, name))
              and getattr(getattr(kyber, name), "__module__", "") == kyber.__name__}
    return [call.function for call in recording.of(Call) if call.function in kybers]


def test_calls_are_those_of_the_recordings(kernel):
    """Of kyber-read, switch-none-to-kyber and switch-kyber-to-deadline, in their order."""
    assert of_kyber(record(scenario.set_scheduler, "nullb0", "kyber")) == [
        "kyber_init_sched", "kyber_queue_data_alloc", "kyber_sched_tags_shift", "kyber_init_hctx",
        *["kyber_ctx_queue_init"] * 4, "kyber_has_work"]
    assert of_kyber(record(scenario.io, "nullb0", "read", 0, 4096)) == [
        "kyber_bio_merge", "kyber_sched_domain", "kyber_limit_depth", "kyber_prepare_request", "rq_set_domain_token",
        "kyber_insert_requests", "kyber_sched_domain", "kyber_has_work",
        "kyber_has_work", "kyber_dispatch_request", "kyber_dispatch_cur_domain", "kyber_get_domain_token",
        "kyber_flush_busy_kcqs", "flush_busy_kcq", "rq_set_domain_token", "kyber_has_work",
        "kyber_completed_request", "kyber_sched_domain", "add_latency_sample", "add_latency_sample",
        "kyber_finish_request", "rq_clear_domain_token", "rq_get_domain_token", "kyber_sched_domain"]
    assert of_kyber(record(scenario.set_scheduler, "nullb0", "mq-deadline")) == [
        "kyber_has_work", "kyber_exit_hctx", "kyber_exit_sched"]


def test_what_sysfs_shows(kernel):
    assert scenario.queue_file("nullb0", "scheduler") == "[none] mq-deadline kyber "
    scenario.set_scheduler("nullb0", "kyber")
    assert scenario.queue_file("nullb0", "scheduler") == "mq-deadline [kyber] none"
    for domain, nsec in (("read", 2 * MS), ("write", 10 * MS)):
        assert scenario.queue_file("nullb0", f"iosched/{domain}_lat_nsec") == str(nsec)
        scenario.set_queue_file("nullb0", f"iosched/{domain}_lat_nsec", (1 << 64) - 1)
        assert scenario.queue_file("nullb0", f"iosched/{domain}_lat_nsec") == str((1 << 64) - 1)
        with pytest.raises(KernelError, match="ERANGE"):
            scenario.set_queue_file("nullb0", f"iosched/{domain}_lat_nsec", 1 << 64)
    assert data().latency_targets == [(1 << 64) - 1, (1 << 64) - 1, 5000 * MS]
    assert data().async_depth == 12
    assert hctx().sched_tags.bitmap_tags.min_shallow_depth == 12


@pytest.mark.parametrize(("op", "domain"), [(REQ_OP_READ | REQ_SYNC, 0), (REQ_OP_WRITE | REQ_SYNC, 1),
                                            (REQ_OP_DISCARD, 2), (REQ_OP_FLUSH, 3), (9, 3)])
def test_domains(op, domain):
    assert kyber.kyber_sched_domain(op) == domain


def test_data_come_back_and_nothing_is_left(kernel):
    """Whatever else there is of a queue: requests are timed ever after."""
    before = Counter(each.kind for each in kernel.memory.live.values())
    scenario.set_scheduler("nullb0", "kyber")
    scenario.null_blk_create("m", size=64, memory_backed=1)
    scenario.set_scheduler("nullb1", "kyber")
    scenario.io("nullb1", "write", 8192, 65536)
    assert scenario.io("nullb1", "read", 8192, 65536) == scenario.sector_numbers(8192, 65536)
    tokens = scenario.disk("nullb1").queue.elevator.elevator_data.domain_tokens
    assert [sbitmap_weight(each.sb) - sbitmap_cleared(each.sb) for each in tokens] == [0] * 4
    scenario.null_blk_remove("m")
    scenario.set_scheduler("nullb0", "none")
    assert has_flag(QUEUE_FLAG_STATS, scenario.disk("nullb0").queue.queue_flags)
    kernel.loop.advance(1000 * MS)
    assert Counter(each.kind for each in kernel.memory.live.values()) == before


def test_every_allocation_may_fail(kernel):
    """Then it is ENOMEM, and the queue has the scheduler that it had, or none."""
    before = Counter(each.kind for each in kernel.memory.live.values())
    nth, failures = 1, 0
    while True:
        failed = kernel.memory.failed
        kernel.memory.fail_nth(nth)
        refused = None
        try:
            scenario.set_scheduler("nullb0", "kyber")
        except KernelError as why:
            refused = why.name
        kernel.memory.fail_never()
        if refused:
            assert (refused, scenario.queue_file("nullb0", "scheduler")) == ("ENOMEM", "[none] mq-deadline kyber ")
            failures += 1
        happened = kernel.memory.failed > failed
        scenario.set_scheduler("nullb0", "none")
        assert Counter(each.kind for each in kernel.memory.live.values()) == before
        if not happened:
            break
        nth += 1
    assert failures > 15


def test_batches_and_tokens(kernel):
    """Sixteen reads, then a write, one of the rest, and reads again; who finds no token waits for one."""
    scenario.set_scheduler("nullb0", "kyber")
    kqd, khd = data(), hctx().sched_data
    kyber.kyber_resize_domain(kqd, kyber.KYBER_READ, 40)
    given = []

    def process():
        q = scenario.disk("nullb0").queue
        for op, count in ((REQ_OP_READ, 20), (REQ_OP_WRITE | REQ_SYNC, 10), (REQ_OP_FLUSH, 2)):
            for _ in range(count):
                rq = blk_mq.blk_mq_alloc_request(q, op, 0)
                waiting = list_head()
                list_add_tail(rq, waiting, "queuelist")
                kyber.kyber_insert_requests(hctx(), waiting, False)
        assert kyber.kyber_has_work(hctx())
        while (rq := kyber.kyber_dispatch_request(hctx())) is not None:
            given.append((kyber.kyber_sched_domain(rq.cmd_flags), kyber.rq_get_domain_token(rq), rq))
        assert not kyber.kyber_has_work(hctx())
        for _, _, rq in given:
            blk_mq.blk_mq_free_request(rq)
    kernel.task("test", process)
    assert [domain for domain, _, _ in given] == [0] * 16 + [1] * 8 + [3] + [0] * 4 + [1] * 2 + [3]
    assert all(len({token for of, token, _ in given if of == domain}) == count
               for domain, count in ((0, 20), (1, 10), (3, 2)))
    assert khd.batching == 0


def test_who_finds_no_token_is_run_when_there_is_one(kernel):
    """Eight readers and one token: all are served, one after the other."""
    scenario.null_blk_unload()
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=32, irqmode=2, completion_nsec=50_000)
    scenario.set_scheduler("nullb0", "kyber")
    kyber.kyber_resize_domain(data(), kyber.KYBER_READ, 0)
    assert data().domain_tokens[0].sb.depth == 1
    reads = [{"op": "read", "offset": 409600 * n, "length": 4096} for n in range(8)]
    recording = record(scenario.aio, "nullb0", reads)
    assert [len(each) for each in recording.result] == [4096] * 8
    assert kernel.now >= 8 * 50_000
    assert of_kyber(recording).count("kyber_domain_wake") == 7
    assert data().domain_tokens[0].ws_active == 0


def test_neighbours_that_wait_are_merged(kernel):
    """While there is no token they stay in their software queue."""
    scenario.set_scheduler("nullb0", "kyber")
    reads = [{"op": "read", "offset": 4096 * n, "length": 4096} for n in range(8)]
    recording = record(scenario.aio, "nullb0", reads)
    assert [len(each) for each in recording.result] == [4096] * 8
    assert of_kyber(recording).count("rq_set_domain_token") == 2


def test_the_timer_throttles(kernel):
    """Congested: a domain within its target gets fewer tokens, one beyond it more, and one of which nothing is known
    stays; and then only once more is known."""
    scenario.set_scheduler("nullb0", "kyber")
    kqd = data()

    def count(cpu, domain, type, latency, times):
        for _ in range(times):
            kyber.add_latency_sample(kqd.cpu_latency[cpu], domain, type, kqd.latency_targets[domain], latency)

    def depths():
        kyber.kyber_timer_fn(kqd.timer)
        return [tokens.sb.depth for tokens in kqd.domain_tokens]
    assert depths() == [256, 128, 64, 16]
    count(0, 0, 1, MS, 499)
    assert depths() == [256, 128, 64, 16]  # too few, too soon
    assert sum(kqd.latency_buckets[0][1]) == 499
    for cpu in range(4):
        count(cpu, 0, 1, MS, 200)
        count(cpu, 0, 0, MS, 125)
    assert depths() == [256, 128, 64, 16]  # half the target, and no congestion
    assert kqd.domain_p99 == [1, -1, -1]
    count(1, 1, 1, 11 * MS, 500)
    count(1, 1, 0, 100 * MS, 500)
    assert depths() == [128, 128, 64, 16]  # reads at half their target, writes far beyond
    assert kqd.domain_p99 == [-1, -1, -1]
    count(1, 1, 1, 11 * MS, 500)
    assert depths() == [128, 128, 64, 16]
    count(2, 0, 0, 3 * MS, 500)
    assert depths() == [192, 128, 64, 16]  # beyond its target: it was throttled too much


@pytest.mark.parametrize(("latency", "bucket"), [(0, 0), (1, 0), (500_000, 0), (500_001, 1), (2 * MS, 3),
                                                 (2 * MS + 1, 4), (3_500_000, 6), (3_500_001, 7), (1 << 40, 7)])
def test_latencies_by_quarters_of_the_target(latency, bucket):
    counted = kyber.kyber_cpu_latency()
    kyber.add_latency_sample(counted, 0, 1, 2 * MS, latency)
    assert counted.buckets[0][1] == [int(n == bucket) for n in range(8)]
    kyber.add_latency_sample(counted, 1, 0, 0, 5)
    assert counted.buckets[1][0][4] == 1


def test_a_second_is_enough(kernel):
    """Also for a few requests; the timer runs a tenth of a second after the first, and is not put off by others. A
    domain has one such second for both of its sums: what the device took is looked at first, and then there is none
    left for the other, which goes on."""
    scenario.set_scheduler("nullb0", "kyber")
    kqd = data()
    scenario.io("nullb0", "read", 0, 4096)
    begin = kqd.timer.expires
    kernel.loop.advance(50 * MS)
    scenario.io("nullb0", "read", 0, 4096)
    assert timer_pending(kqd.timer)
    assert kqd.timer.expires == begin
    kernel.loop.advance(60 * MS)
    assert sum(kqd.latency_buckets[0][0]) == 2
    kernel.loop.advance(1000 * MS)
    scenario.io("nullb0", "read", 0, 4096)
    kernel.loop.advance(110 * MS)
    assert [sum(kqd.latency_buckets[0][type]) for type in (0, 1)] == [3, 0]
    assert kqd.domain_p99[0] == -1
