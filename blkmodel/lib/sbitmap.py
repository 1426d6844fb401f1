"""Scalable bitmaps: handing out numbers to many CPUs, and letting tasks wait for one to come free.

A bitmap is spread over words that each lie in a cache line of their own. A bit that is given back is only
noted in its word's `cleared`; the word itself changes when it has no free bit left. Waiters stand in eight
queues that are woken in turn, a batch of freed bits at a time.

Left out: the functions that print a bitmap, and what can only go wrong between two CPUs.
"""


from blkmodel.include.linux.sbitmap import (SBQ_WAIT_QUEUES, SBQ_WAKE_BATCH, sbitmap, sbitmap_deferred_clear_bit,
    sbitmap_free, sbitmap_queue, sbitmap_word, sbq_index_inc, sbq_wait, sbq_wait_state)
from blkmodel.services import (EINVAL, ENOMEM, WARN_ON_ONCE, add_wait_queue, alloc_percpu_gfp, find_next_zero_bit,
    finish_wait, for_each_possible_cpu, free_percpu, kcalloc_node, list_del_init, prandom_u32,
    prepare_to_wait_exclusive, smp_processor_id, waitqueue_active, wake_up, wake_up_nr)
from blkmodel.sim import NULL

BITS_PER_LONG, UINT_MAX = 64, 0xFFFFFFFF


def sbitmap_deferred_clear(sb: sbitmap, index: int) -> bool:
    """Make the bits that were given back to a word free; return whether there were any."""
    word = sb.map[index]
    if not word.cleared:
        return False
    mask, word.cleared = word.cleared, 0
    word.word &= ~mask
    return True


def sbitmap_init_node(sb: sbitmap, depth: int, shift: int, flags: int, node: int) -> int:
    """Allocate a bitmap of `depth` bits, all free, with 2**shift bits a word.

    With a negative shift a small bitmap gets at least four words: a word has 64 bits, or half that for as long as
    four words would hold more than `depth`.
    Returns 0, -EINVAL (a word has only 64 bits) or -ENOMEM.
    """
    if shift < 0:
        shift = BITS_PER_LONG.bit_length() - 1
        if depth >= 4:
            while 4 << shift > depth:
                shift -= 1
    bits_per_word = 1 << shift
    if bits_per_word > BITS_PER_LONG:
        return -EINVAL

    sb.shift, sb.depth, sb.map_nr = shift, depth, -(-depth // bits_per_word)
    if depth == 0:
        sb.map = NULL
        return 0

    sb.map = kcalloc_node(sb.map_nr, sbitmap_word, flags, node)
    if sb.map is None:
        return -ENOMEM
    for word in sb.map:
        word.depth = min(depth, bits_per_word)
        depth -= word.depth
    return 0


def sbitmap_resize(sb: sbitmap, depth: int) -> None:
    """Change the number of bits, up to what the bitmap was allocated with. Bits that are out stay out."""
    bits_per_word = 1 << sb.shift
    for i in range(sb.map_nr):
        sbitmap_deferred_clear(sb, i)
    sb.depth, sb.map_nr = depth, -(-depth // bits_per_word)
    for i in range(sb.map_nr):
        sb.map[i].depth = min(depth, bits_per_word)
        depth -= sb.map[i].depth


def __sbitmap_get_word(word: sbitmap_word, depth: int, hint: int, wrap: bool) -> int:
    """Take the first free bit of a word's first `depth`, from `hint` on, then (with wrap) from 0.

    Returns the bit, or -1. (In C the word is given by the address of its number.)
    """
    if (nr := find_next_zero_bit(word.word, depth, hint)) >= depth and hint and wrap:
        nr = find_next_zero_bit(word.word, depth, 0)
    if nr >= depth:
        return -1
    word.word |= 1 << nr
    return nr


def sbitmap_find_bit_in_index(sb: sbitmap, index: int, alloc_hint: int, round_robin: bool) -> int:
    """Take a bit of one word, of those that were given back if need be; return it, or -1."""
    word = sb.map[index]
    while True:
        nr = __sbitmap_get_word(word, word.depth, alloc_hint, not round_robin)
        if nr != -1 or not sbitmap_deferred_clear(sb, index):
            return nr


def sbitmap_get(sb: sbitmap, alloc_hint: int, round_robin: bool) -> int:
    """Take a free bit; return its number, or -1 where all are taken.

    The search starts at the word of `alloc_hint`: at its first bit or, with round_robin, at that very bit.
    """
    index = alloc_hint >> sb.shift
    alloc_hint = alloc_hint & (1 << sb.shift) - 1 if round_robin else 0
    # 5.4: with round_robin, bits of the first word that are below the hint are passed over, even if only they are free.
    for _ in range(sb.map_nr):
        if (nr := sbitmap_find_bit_in_index(sb, index, alloc_hint, round_robin)) != -1:
            return nr + (index << sb.shift)
        alloc_hint = 0
        index += 1
        if index >= sb.map_nr:
            index = 0
    return -1


def sbitmap_get_shallow(sb: sbitmap, alloc_hint: int, shallow_depth: int) -> int:
    """Take a free bit among the first shallow_depth bits of every word; return its number, or -1.

    So somebody who must not use up the bitmap leaves the rest of each word to others.
    """
    index, bit = alloc_hint >> sb.shift, alloc_hint & (1 << sb.shift) - 1
    for _ in range(sb.map_nr):
        while True:
            word = sb.map[index]
            if (nr := __sbitmap_get_word(word, min(word.depth, shallow_depth), bit, True)) != -1:
                return nr + (index << sb.shift)
            if not sbitmap_deferred_clear(sb, index):
                break
        bit = 0
        index += 1
        if index >= sb.map_nr:
            index = 0
    return -1


def sbitmap_any_bit_set(sb: sbitmap) -> bool:
    """Whether any bit is taken."""
    return any(sb.map[i].word & ~sb.map[i].cleared for i in range(sb.map_nr))


def __sbitmap_weight(sb: sbitmap, set: bool) -> int:
    """Count the bits of all words, or (set is False) those that were given back to them."""
    weight = 0
    for i in range(sb.map_nr):
        word = sb.map[i]
        weight += ((word.word if set else word.cleared) & (1 << word.depth) - 1).bit_count()
    return weight


def sbitmap_weight(sb: sbitmap) -> int:
    """Count the bits that are taken or not yet free again."""
    return __sbitmap_weight(sb, True)


def sbitmap_cleared(sb: sbitmap) -> int:
    """Count the bits that were given back and are not yet free again."""
    return __sbitmap_weight(sb, False)


def sbq_calc_wake_batch(sbq: sbitmap_queue, depth: int) -> int:
    """How many bits must come free before a wait queue is woken: 1 to 8.

    Few enough that freeing every bit that can be out at once wakes all eight queues. With a least shallow depth
    no more than that many bits of each word may ever be out.
    """
    bits_per_word = 1 << sbq.sb.shift
    shallow_depth = min(bits_per_word, sbq.min_shallow_depth)
    depth = (depth >> sbq.sb.shift) * shallow_depth + min(depth & bits_per_word - 1, shallow_depth)
    return min(max(depth // SBQ_WAIT_QUEUES, 1), SBQ_WAKE_BATCH)


def sbitmap_queue_init_node(sbq: sbitmap_queue, depth: int, shift: int, round_robin: bool, flags: int,
                            node: int) -> int:
    """Allocate a bitmap with wait queues; each CPU's first search starts at a random bit.

    round_robin: hand out the bits strictly one after the other.
    Returns 0, -EINVAL or -ENOMEM; then nothing is left allocated.
    """
    if ret := sbitmap_init_node(sbq.sb, depth, shift, flags, node):
        return ret

    sbq.alloc_hint = alloc_percpu_gfp("unsigned int", flags)
    if sbq.alloc_hint is None:
        sbitmap_free(sbq.sb)
        return -ENOMEM
    if depth and not round_robin:
        for cpu in for_each_possible_cpu():
            sbq.alloc_hint[cpu] = prandom_u32() % depth

    sbq.min_shallow_depth = UINT_MAX
    sbq.wake_batch = sbq_calc_wake_batch(sbq, depth)
    sbq.wake_index = sbq.ws_active = 0

    sbq.ws = kcalloc_node(SBQ_WAIT_QUEUES, sbq_wait_state, flags, node)
    if sbq.ws is None:
        free_percpu(sbq.alloc_hint)
        sbitmap_free(sbq.sb)
        return -ENOMEM
    for ws in sbq.ws:
        ws.wait_cnt = sbq.wake_batch

    sbq.round_robin = round_robin
    return 0


def sbitmap_queue_update_wake_batch(sbq: sbitmap_queue, depth: int) -> None:
    """Fit the wake batch to a new depth. A wait queue that had counted on the old one is woken by the next free."""
    wake_batch = sbq_calc_wake_batch(sbq, depth)
    if sbq.wake_batch != wake_batch:
        sbq.wake_batch = wake_batch
        for ws in sbq.ws:
            ws.wait_cnt = 1


def sbitmap_queue_resize(sbq: sbitmap_queue, depth: int) -> None:
    """Change the number of bits, up to what the bitmap was allocated with."""
    sbitmap_queue_update_wake_batch(sbq, depth)
    sbitmap_resize(sbq.sb, depth)


def __sbitmap_queue_get(sbq: sbitmap_queue) -> int:
    """Take a bit, first where this CPU last took or gave one back; return its number, or -1."""
    cpu = smp_processor_id()
    hint, depth = sbq.alloc_hint[cpu], sbq.sb.depth
    if hint >= depth:
        hint = sbq.alloc_hint[cpu] = prandom_u32() % depth if depth else 0
    if (nr := sbitmap_get(sbq.sb, hint, sbq.round_robin)) == -1:
        sbq.alloc_hint[cpu] = 0
    elif nr == hint or sbq.round_robin:
        # The hint that was good is used up. (The last bit is never a hint.)
        hint = nr + 1
        sbq.alloc_hint[cpu] = 0 if hint >= depth - 1 else hint
    return nr


def __sbitmap_queue_get_shallow(sbq: sbitmap_queue, shallow_depth: int) -> int:
    """Take a bit among the first shallow_depth of each word, first where this CPU last took one; the number, or -1."""
    WARN_ON_ONCE(shallow_depth < sbq.min_shallow_depth, "shallow depth below the least that was announced")
    cpu = smp_processor_id()
    hint, depth = sbq.alloc_hint[cpu], sbq.sb.depth
    if hint >= depth:
        hint = sbq.alloc_hint[cpu] = prandom_u32() % depth if depth else 0
    if (nr := sbitmap_get_shallow(sbq.sb, hint, shallow_depth)) == -1:
        sbq.alloc_hint[cpu] = 0
    elif nr == hint or sbq.round_robin:
        hint = nr + 1
        sbq.alloc_hint[cpu] = 0 if hint >= depth - 1 else hint
    return nr


def sbitmap_queue_min_shallow_depth(sbq: sbitmap_queue, min_shallow_depth: int) -> None:
    """Announce the least depth that __sbitmap_queue_get_shallow() will be given: it bounds the wake batch."""
    sbq.min_shallow_depth = min_shallow_depth
    sbitmap_queue_update_wake_batch(sbq, sbq.sb.depth)


def sbq_wake_ptr(sbq: sbitmap_queue) -> sbq_wait_state:
    """Find the next wait queue on which somebody waits, or None; the turn passes to it."""
    if not sbq.ws_active:
        return NULL
    wake_index = sbq.wake_index
    for _ in range(SBQ_WAIT_QUEUES):
        ws = sbq.ws[wake_index]
        if waitqueue_active(ws.wait):
            if wake_index != sbq.wake_index:
                sbq.wake_index = wake_index
            return ws
        wake_index = sbq_index_inc(wake_index)
    return NULL


def __sbq_wake_up(sbq: sbitmap_queue) -> bool:
    """Count one freed bit; where that completes a batch, wake as many waiters of the queue whose turn it is.

    Returns whether another CPU came in between, so that the caller has to try again: never, here.
    """
    if (ws := sbq_wake_ptr(sbq)) is None:
        return False
    ws.wait_cnt -= 1
    if ws.wait_cnt <= 0:
        ws.wait_cnt = sbq.wake_batch
        sbq.wake_index = sbq_index_inc(sbq.wake_index)
        wake_up_nr(ws.wait, sbq.wake_batch)
    return False


def sbitmap_queue_wake_up(sbq: sbitmap_queue) -> None:
    """Tell the waiters, in batches, that a bit has come free."""
    while __sbq_wake_up(sbq):
        pass


def sbitmap_queue_clear(sbq: sbitmap_queue, nr: int, cpu: int) -> None:
    """Give bit `nr` back; where that completes a batch, those who wait are woken. `cpu`, where it was taken, will look
    there first."""
    sbitmap_deferred_clear_bit(sbq.sb, nr)
    sbitmap_queue_wake_up(sbq)
    if not sbq.round_robin and nr < sbq.sb.depth:
        sbq.alloc_hint[cpu] = nr


def sbitmap_queue_wake_all(sbq: sbitmap_queue) -> None:
    """Wake one exclusive waiter, and all others, of every wait queue."""
    wake_index = sbq.wake_index
    for _ in range(SBQ_WAIT_QUEUES):
        ws = sbq.ws[wake_index]
        if waitqueue_active(ws.wait):
            wake_up(ws.wait)
        wake_index = sbq_index_inc(wake_index)


def sbitmap_add_wait_queue(sbq: sbitmap_queue, ws: sbq_wait_state, sbq_wait: sbq_wait) -> None:
    """Let a waiter with a function of its own stand in a queue, unless it already stands in one."""
    if sbq_wait.sbq is None:
        sbq_wait.sbq = sbq
        sbq.ws_active += 1
        add_wait_queue(ws.wait, sbq_wait.wait)


def sbitmap_del_wait_queue(sbq_wait: sbq_wait) -> None:
    """End what sbitmap_add_wait_queue() began."""
    list_del_init(sbq_wait.wait, "entry")
    if sbq_wait.sbq is not None:
        sbq_wait.sbq.ws_active -= 1
        sbq_wait.sbq = NULL


def sbitmap_prepare_to_wait(sbq: sbitmap_queue, ws: sbq_wait_state, sbq_wait: sbq_wait, state: int) -> None:
    """Let the running task stand in a queue, to be woken alone; it sleeps at the next io_schedule()."""
    if sbq_wait.sbq is None:
        sbq.ws_active += 1
        sbq_wait.sbq = sbq
    prepare_to_wait_exclusive(ws.wait, sbq_wait.wait, state)


def sbitmap_finish_wait(sbq: sbitmap_queue, ws: sbq_wait_state, sbq_wait: sbq_wait) -> None:
    """End what sbitmap_prepare_to_wait() began."""
    finish_wait(ws.wait, sbq_wait.wait)
    if sbq_wait.sbq is not None:
        sbq.ws_active -= 1
        sbq_wait.sbq = NULL
