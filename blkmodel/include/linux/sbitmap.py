"""Scalable bitmaps: words far apart in memory, so that CPUs do not fight over one cache line
(include/linux/sbitmap.h)."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services import find_next_bit, free_percpu, init_wait, kfree, wait_queue_entry, wait_queue_head
from blkmodel.sim import NULL, Struct

SBQ_WAIT_QUEUES = SBQ_WAKE_BATCH = 8


class sbitmap_word(Struct):
    """One word: `depth` bits are in use; `word` has the taken ones, `cleared` those given back but not yet free."""

    depth: int = 0
    word: int = 0
    cleared: int = 0


class sbitmap(Struct):
    """`depth` bits in map_nr words of at most 2**shift bits each."""

    depth: int = 0
    shift: int = 0
    map_nr: int = 0
    map: list[sbitmap_word] = NULL


class sbq_wait_state(Struct):
    """One of the wait queues: wait_cnt more bits must be freed before it wakes anybody."""

    wait_cnt: int = 0
    wait: wait_queue_head = field(default_factory=wait_queue_head)


class sbitmap_queue(Struct):
    """A bitmap whose bits can be waited for. alloc_hint: for each CPU, the bit where it looks first."""

    sb: sbitmap = field(default_factory=sbitmap)
    alloc_hint: list[int] = NULL
    wake_batch: int = 0
    wake_index: int = 0
    ws: list[sbq_wait_state] = NULL
    ws_active: int = 0
    round_robin: bool = False
    min_shallow_depth: int = 0


class sbq_wait(Struct, size=48):
    """Somebody who waits for a bit; sbq is set while that is accounted."""

    sbq: sbitmap_queue = NULL
    wait: wait_queue_entry = field(default_factory=wait_queue_entry)


def sbitmap_free(sb: sbitmap) -> None:
    kfree(sb.map)
    sb.map = NULL


def sbitmap_queue_free(sbq: sbitmap_queue) -> None:
    """Free what sbitmap_queue_init_node() allocated."""
    kfree(sbq.ws)
    free_percpu(sbq.alloc_hint)
    sbitmap_free(sbq.sb)


def SB_NR_TO_INDEX(sb: sbitmap, bitnr: int) -> int:
    """The word that holds a bit."""
    return bitnr >> sb.shift


def SB_NR_TO_BIT(sb: sbitmap, bitnr: int) -> int:
    """A bit's place in its word."""
    return bitnr & (1 << sb.shift) - 1


def sbitmap_set_bit(sb: sbitmap, bitnr: int) -> None:
    sb.map[bitnr >> sb.shift].word |= 1 << SB_NR_TO_BIT(sb, bitnr)


def sbitmap_clear_bit(sb: sbitmap, bitnr: int) -> None:
    sb.map[bitnr >> sb.shift].word &= ~(1 << SB_NR_TO_BIT(sb, bitnr))


def sbitmap_test_bit(sb: sbitmap, bitnr: int) -> bool:
    return bool(sb.map[bitnr >> sb.shift].word >> SB_NR_TO_BIT(sb, bitnr) & 1)


def sbitmap_deferred_clear_bit(sb: sbitmap, bitnr: int) -> None:
    """Note a bit as given back; it is free when its word runs out and sbitmap_deferred_clear() looks."""
    sb.map[bitnr >> sb.shift].cleared |= 1 << SB_NR_TO_BIT(sb, bitnr)


def __sbitmap_for_each_set(sb: sbitmap, start: int, fn: Callable[..., bool], data: Any) -> None:
    """Call fn(sb, bit, data) for every bit that is taken, from `start` on and round, until it returns False.

    Each word is read once, when its turn comes: fn may change it.
    """
    if start >= sb.depth:
        start = 0
    index, nr, scanned = SB_NR_TO_INDEX(sb, start), SB_NR_TO_BIT(sb, start), 0
    while scanned < sb.depth:
        chunk = min(sb.map[index].depth - nr, sb.depth - scanned)
        scanned += chunk
        word = sb.map[index].word & ~sb.map[index].cleared
        end = nr + chunk
        nr = find_next_bit(word, end, nr)
        while nr < end:
            if not fn(sb, (index << sb.shift) + nr, data):
                return
            nr = find_next_bit(word, end, nr + 1)
        nr = 0
        index += 1
        if index >= sb.map_nr:
            index = 0


def sbitmap_for_each_set(sb: sbitmap, fn: Callable[..., bool], data: Any) -> None:
    __sbitmap_for_each_set(sb, 0, fn, data)


def sbq_index_inc(index: int) -> int:
    return index + 1 & SBQ_WAIT_QUEUES - 1


def sbq_wait_ptr(sbq: sbitmap_queue, wait_index: int) -> tuple[sbq_wait_state, int]:
    """Choose a wait queue, each in turn. Returns it and the index that the caller keeps for its next time."""
    return sbq.ws[wait_index], sbq_index_inc(wait_index)


def DEFINE_SBQ_WAIT() -> sbq_wait:
    """A waiter for the running task, on no queue yet."""
    waiter = sbq_wait()
    init_wait(waiter.wait)
    return waiter
