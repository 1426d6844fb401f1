"""What must hold of a queue and of bios, whatever was done."""

import contextlib

from blkmodel.block import blk_core, blk_mq_tag
from blkmodel.include.linux.blk_mq import queue_for_each_hw_ctx
from blkmodel.lib import sbitmap
from blkmodel.services.data.list import list_empty


def at_rest(kernel, q, marks=False):
    """Nothing of a queue is allocated, busy or waiting, and nobody has complained. marks: as queue_at_rest() has it."""
    queue_at_rest(q, marks)
    assert kernel.context.rcu == 0
    assert {event.context.name for event in kernel.loop.pending()} <= {"timer", "kblockd"}
    assert not [line for line in kernel.log if line.startswith("WARNING") or "beyond end" in line or "error" in line]


def queue_at_rest(q, marks=False):
    """Nothing of a queue is allocated, busy or waiting. marks: a CPU may have gone, which leaves the mark of what was
    queued there."""
    assert q.q_usage_counter.count == 1
    assert list_empty(q.requeue_list)
    for hctx in queue_for_each_hw_ctx(q):
        assert list_empty(hctx.dispatch)
        assert hctx.nr_active == 0
        assert hctx.dispatch_wait.entry is None
        for ctx in hctx.ctxs[:hctx.nr_ctx]:
            assert list_empty(ctx.rq_lists[hctx.type])
        assert hctx.tags is None or marks or not sbitmap.sbitmap_any_bit_set(hctx.ctx_map)
        for tags in (hctx.tags, hctx.sched_tags):
            for bitmap in (tags.bitmap_tags, tags.breserved_tags) if tags is not None else ():
                assert not bitmap.sb.depth or not sbitmap.sbitmap_any_bit_set(bitmap.sb)
                assert bitmap.ws_active == 0
                assert all(list_empty(ws.wait.head) for ws in bitmap.ws)
        fq = hctx.fq
        assert fq.flush_pending_idx == fq.flush_running_idx
        assert all(list_empty(each) for each in (*fq.flush_queue, fq.flush_data_in_flight))
    if q.elevator is not None and q.elevator.type.elevator_name == "kyber":
        assert not any(sbitmap.sbitmap_any_bit_set(tokens.sb) for tokens in q.elevator.elevator_data.domain_tokens)
        for hctx in queue_for_each_hw_ctx(q):
            khd = hctx.sched_data
            assert all(list_empty(rqs) for kcq in (khd, *khd.kcqs) for rqs in (kcq.rqs if kcq is khd else kcq.rq_list))
            assert not any(sbitmap.sbitmap_any_bit_set(each) for each in khd.kcq_map)
    elif q.elevator is not None:
        dd = q.elevator.elevator_data
        assert all(list_empty(each) for each in (*dd.fifo_list, dd.dispatch))
        assert not any(root.nodes for root in dd.sort_list)
        assert not any(bucket.entries for bucket in q.elevator.hash)
    assert q.last_merge is None


def any_bit_clear(sb):
    """Whether a bitmap has a bit that is not set, or was cleared and is to be swept up."""
    return any((each.word & ~each.cleared).bit_count() < each.depth for each in (sb.map or ())[:sb.map_nr])


@contextlib.contextmanager
def tags_watched():
    """While this is on, a tag that is held must not be given out, and one that is not must not come back."""
    held = set()
    get, put = blk_mq_tag.blk_mq_get_tag, blk_mq_tag.blk_mq_put_tag

    def get_tag(data):
        tag = get(data)
        if tag != blk_mq_tag.BLK_MQ_TAG_FAIL:
            key = id(blk_mq_tag.blk_mq_tags_from_data(data)), tag
            assert key not in held
            held.add(key)
        return tag

    def put_tag(hctx, tags, ctx, tag):
        held.remove((id(tags), tag))
        put(hctx, tags, ctx, tag)
    blk_mq_tag.blk_mq_get_tag, blk_mq_tag.blk_mq_put_tag = get_tag, put_tag
    try:
        yield held
    finally:
        blk_mq_tag.blk_mq_get_tag, blk_mq_tag.blk_mq_put_tag = get, put


@contextlib.contextmanager
def bios_watched():
    """While this is on, every bio that is submitted must end before that, and once."""
    under_way: dict = {}
    submit = blk_core.submit_bio

    def submit_bio(bio):
        number, end_io = len(under_way), bio.bi_end_io
        under_way[number] = bio

        def end(bio):
            assert under_way[number] is bio
            under_way[number] = None
            bio.bi_end_io = end_io
            end_io(bio)
        bio.bi_end_io = end
        return submit(bio)
    blk_core.submit_bio = submit_bio
    try:
        yield
        assert not any(under_way.values())
    finally:
        blk_core.submit_bio = submit


def content(sector, count, serial):
    """What write number `serial` puts there: each sector says where it is, and who wrote it."""
    return b"".join((serial << 32 | at).to_bytes(8, "little") * 64 for at in range(sector, sector + count))
