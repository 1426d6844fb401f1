"""What a kernel's tracer printed becomes call trees, which stand beside the model's."""

import json
import os
import subprocess

import pytest

from blkmodel.capture.formats import read
from tests.tools import guest_python, kernel_calls, verify_kernel

SAID = """@@trace nvme read
# tracer: function_graph
# CPU  TASK/PID       ||||                  FUNCTION CALLS
 1)     dd-137     |  ...1. | blkdev_read_iter() {
 1)     dd-137     |  ...1. |   blkdev_direct_IO.part.0() {
 1)     dd-137     |  ...1. |     __blkdev_direct_IO_simple() {
 1)     dd-137     |  d..1. |       irq_enter_rcu() {
 1)     dd-137     |  d.h1. |         rcu_sched_clock_irq();
 1)     dd-137     |  d.... |       }
 1)     dd-137     |  ...1. |       filemap_check_errors();
 1)     dd-137     |  ...1. |       submit_bio_wait() {
 1)     dd-137     |  ...1. |         nvme_queue_rq [nvme]() {
 ------------------------------------------
 1)     dd-137     |  ...1. |           blk_mq_start_request() {
 1)     dd-137     |  d..2. |             irq_enter_rcu() {
 1)     dd-137     |  d.h3. |               handle_irq_event() {
 1)     dd-137     |  d.h2. |                 nvme_irq [nvme]() {
 1)     dd-137     |  d.h2. |                   bio_endio() {
 1)     dd-137     |  d.h2. |                     submit_bio_wait_endio();
 1)     dd-137     |  d.... |                   }
 1)     dd-137     |  d.... |                 }
 3)    <idle>-0    |  ..s2. | blk_done_softirq() {
 1)     dd-137     |  d.... |               }
 1)     dd-137     |  d.... |             }
 1)     dd-137     |  ...1. |             blk_add_timer();
 1)     dd-137     |  ..... |           }
 3)    <idle>-0    |  ..s2. |   nvme_complete_rq [nvme_core]();
 1)     dd-137     |  ..... |         }
 1)     dd-137     |  ...1. |         nvme_poll [nvme]() {
 1)     dd-137     |  ...1. |           nvme_poll.part.0 [nvme]() {
 1)     dd-137     |  ...1. |             bio_uninit();
@@done
@@trace null_blk write
 1)     dd-140     |  ...1. | blkdev_write_iter() {
 1)     dd-140     |  ...1. |   null_queue_rq [null_blk]();
@@done
@@names
blk_add_timer
blk_mq_tag_to_rq
@@done
"""


def test_each_call_stands_beneath_its_caller_in_the_context_that_the_kernel_says(tmp_path):
    one, other = kernel_calls.documents(SAID, "6.1.0-57-amd64")
    assert one["contexts"] == [
        {"context": "task", "calls": [{"blkdev_read_iter": [{"blkdev_direct_IO": [{"__blkdev_direct_IO_simple": [
            {"submit_bio_wait": [{"nvme_queue_rq": [{"blk_mq_start_request": ["blk_add_timer"]}]},
                                 {"nvme_poll": ["bio_uninit"]}]}]}]}]}]},
        {"context": "irq", "calls": [{"nvme_irq": [{"bio_endio": ["submit_bio_wait_endio"]}]}]},
        {"context": "softirq", "calls": [{"blk_done_softirq": ["nvme_complete_rq"]}]}]
    assert one["scenario"]["setup"][0][1]["max_ioqpairs"] == 7
    assert (other["scenario"]["name"], other["scenario"]["traced"][1]["offset"]) == ("null_blk-write-4k", 8192)
    (tmp_path / "made.json").write_text(json.dumps(one))
    assert read(tmp_path / "made.json") == one


def test_a_tree_that_does_not_come_to_the_driver_or_back_is_wrong():
    one, other = kernel_calls.documents(SAID, "6.1")
    assert kernel_calls.reached(one) == []
    assert len(kernel_calls.reached(other)) == 1  # nothing ended its bio
    for lost in ("nvme_queue_rq", "nvme_irq"):
        cut, *_ = kernel_calls.documents(SAID.replace(f" {lost} ", " unknown "), "6.1")
        assert kernel_calls.reached(cut)[0].startswith(lost)


def test_functions_stand_beside_those_of_5_4():
    one, *_ = kernel_calls.documents(SAID, "6.1")
    ours = kernel_calls.of_model(one)
    assert ours[0][0] == "blkdev_read_iter"
    lines = kernel_calls.compared(kernel_calls.of_kernel(one), ours, {"blk_mq_tag_to_rq"})
    assert lines[:4] == ["= blkdev_read_iter", "=   blkdev_direct_IO", "=     __blkdev_direct_IO_simple",
                         "+       submit_bio_wait"]
    assert "=         nvme_queue_rq" in lines  # the functions between are not in both
    assert "=           bio_uninit" in lines
    assert "- blk_mq_tag_to_rq: is there, and is not called here" in lines
    assert "- generic_make_request: no function of that name can be traced" in lines
    assert kernel_calls.summary(lines).startswith("8 functions are called as in 5.4, 2 by others, 4 are not in 5.4's")
    theirs = (("a", (("new", (("b", ()),)),)), ("c", (("b", ()),)))
    assert kernel_calls.compared(theirs, (("a", (("old", ()), ("b", ()))), ("c", ())), set(), {"old": "new"}) == [
        "= a", "=   new (in 5.4: old)", "~     b", "= c", "~   b"]


@pytest.mark.skipif(guest_python.why_not() != "" or os.geteuid() != 0, reason="only root may change the root directory")
def test_this_python_runs_where_there_is_nothing_else(tmp_path):
    for name, data in {**guest_python.files(verify_kernel.SAMPLE), "a.json": verify_kernel.SAMPLE.read_bytes()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / guest_python.EXECUTABLE[1:]).chmod(0o755)
    for path in tmp_path.rglob("ld-linux*"):
        path.chmod(0o755)
    words = ["chroot", tmp_path, guest_python.EXECUTABLE, "-S", "-B", "-m", "blkmodel", "check", "a.json"]
    done = subprocess.run(words, text=True, capture_output=True, check=False,
                          env={"PYTHONPATH": str(guest_python.PACKAGE), "PATH": os.environ["PATH"]})
    assert "1 passed, 0 failed" in done.stdout, done.stderr
