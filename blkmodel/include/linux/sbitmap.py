"""Scalable bitmaps: words far apart in memory, so that CPUs do not fight over one cache line."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.wait import wait_queue_entry, wait_queue_head
from blkmodel.sim.structure import Struct, struct

SBQ_WAIT_QUEUES = 8
SBQ_WAKE_BATCH = 8


@struct
class sbitmap_word(Struct):
    """One word: `depth` bits are in use; `word` has the taken ones, `cleared` those given back but not yet free."""

    depth: int = 0
    word: int = 0
    cleared: int = 0


@struct
class sbitmap(Struct):
    """`depth` bits in map_nr words of at most 2**shift bits each."""

    depth: int = 0
    shift: int = 0
    map_nr: int = 0
    map: Any = None


@struct
class sbq_wait_state(Struct):
    """One of the wait queues: wait_cnt more bits must be freed before it wakes anybody."""

    wait_cnt: int = 0
    wait: Any = field(default_factory=wait_queue_head)


@struct
class sbitmap_queue(Struct):
    """A bitmap whose bits can be waited for. alloc_hint: for each CPU, the bit where it looks first."""

    sb: Any = field(default_factory=sbitmap)
    alloc_hint: Any = None
    wake_batch: int = 0
    wake_index: int = 0
    ws: Any = None
    ws_active: int = 0
    round_robin: bool = False
    min_shallow_depth: int = 0


@struct
class sbq_wait(Struct):
    """Somebody who waits for a bit; sbq is set while that is accounted."""

    SIZE = 48
    sbq: Any = None
    wait: Any = field(default_factory=wait_queue_entry)
