"""Locks, wake-ups and waiting for others stand in the mirror where they stand in the kernel, and nowhere else."""

import ast
from pathlib import Path

import pytest

import blkmodel
from blkmodel.reference.rooms import modules
from tests.tools import sync

SHORT = {
    "bio_slab_lock", "block_class_lock", "disk_events_mutex", "block_mutex", "delayed_bios_lock", "timer_lock",
    "_hash_lock", "dm_hash_cells_mutex", "_ps_lock", "_event_lock", "_lock", "nvme_subsystems_lock"}
"""Locks that are not in the mirror: nothing that sleeps is done with them, so that in the model they exclude nobody."""
ELSEWHERE = {
    ("__blk_mq_complete_request", "complete"): "a driver's function",
    ("blk_done_softirq", "complete"): "a driver's function",
    ("__blk_mq_complete_request_remote", "complete"): "a driver's function",
    ("blk_cleanup_queue", "del_timer_sync"): "laptop mode", ("disk_block_events", "cancel"): "events of a medium",
    ("flush_multipath_work", "flush"): "hardware handlers, and bios that wait for a path",
    ("pg_init_done", "wake_up"): "hardware handlers", ("nvme_stop_ctrl", "cancel"): "new firmware",
    ("nvme_stop_keep_alive", "cancel"): "keep-alive"}
"""(function, call) that the mirror does without: what it is for."""
NAMED = {("blk_stat_free_callback", "call_rcu"), ("__blk_release_queue", "call_rcu"),
         ("dm_kobject_release", "complete"), ("disk_replace_part_tbl", "call_rcu"),
         ("bd_clear_claiming", "wake_up_bit"), ("unlock_buffer", "wake_up_bit"),
         ("aio_complete_rw", "wake_up")}
"""What is called for has no name of its own there, or another: the call alone is compared."""


def mirrored():
    """The functions of the mirror: (file, name)."""
    here = Path(blkmodel.__file__).parent
    return {(each.file, node.name) for each in modules() if each.file
            for node in ast.parse((here / f"{each.name.replace('.', '/')}.py").read_text()).body
            if isinstance(node, ast.FunctionDef)}


def compared(rows):
    return {row._replace(what="") if (row.function, row.call) in NAMED else row for row in rows
            if row.what not in SHORT and (row.function, row.call) not in ELSEWHERE}


def test_each_stands_where_the_kernel_has_it():
    there = mirrored()
    of_c = compared(row for row in sync.kernel() if (row.file, row.function) in there)
    of_model = compared(sync.model())
    assert of_c - of_model == set()
    assert of_model - of_c == {  # in C: kfree_rcu(); and aio_complete()'s, of which it is part here
        sync.Row("block/genhd.c", "disk_replace_part_tbl", "call_rcu", ""),
        sync.Row("fs/aio.c", "aio_complete_rw", "wake_up", "")}
    assert len(of_model) > 150


def test_nothing_is_let_pass_that_is_there():
    of_c, of_model = sync.kernel(), sync.model()
    assert not {row for row in of_model if row.what in SHORT}
    assert {row.what for row in of_c} >= SHORT
    assert {(row.function, row.call) for row in of_c} >= ELSEWHERE.keys()
    done_without = ELSEWHERE.keys() - {("flush_multipath_work", "flush")}
    assert not {row for row in of_model if (row.function, row.call) in done_without}


@pytest.mark.parametrize(("source", "rows"), [
    ("def f():\n    with q.a_lock:\n        pass\n", {("mutex_lock", "a_lock"), ("mutex_unlock", "a_lock")}),
    ("def f():\n    with c.rwsem.read:\n        pass\n", {("down_read", "rwsem"), ("up_read", "rwsem")}),
    ("def f():\n    wake_up_all(q.mq_freeze_wq)\n", {("wake_up_all", "mq_freeze_wq")}),
    ("def f():\n    pass\n", set())])
def test_what_a_module_does_is_read(source, rows):
    assert {row[2:] for row in sync.of_mirror("block/x.c", source)} == rows


def test_what_c_does_is_read():
    source = ("/* mutex_lock(&a) */\nstatic int f(struct x *x)\n{\n\tmutex_lock(&x->q->sysfs_lock);\n"
              "\tsynchronize_rcu();\n}\n")
    assert {row[1:] for row in sync.of_c("block/x.c", source)} == {
        ("f", "mutex_lock", "sysfs_lock"), ("f", "synchronize_rcu", "")}
