"""The tree of calls: what is alike stands once."""

from __future__ import annotations

import re

from blkmodel import boot, scenario
from blkmodel.trace import Call, record
from blkmodel.view.draw.call_tree import call_tree


def test_contexts_that_are_alike_and_follow_each_other_stand_once() -> None:
    """The interrupts of a probe: each is a context of its own."""
    boot(4)
    probing = record(scenario.nvme_probe)
    handlers = [call.context for call in probing.of(Call) if call.function == "nvme_irq"]
    drawn = call_tree(probing, roots=["nvme_irq"])
    times = [int(each or 1) for each in
             re.findall(r'<p class="context">irq nvme0q\d, CPU \d(?:<span class="note">× (\d+)</span>)?</p>', drawn)]
    assert sum(times) == len(set(handlers)) > 10
    assert len(times) == drawn.count('class="context"') < len(handlers) / 3
