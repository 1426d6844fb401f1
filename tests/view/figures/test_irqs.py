"""Interrupts as a figure: who can be moved, who comes to isolated CPUs, and that all counted is drawn."""

from __future__ import annotations

import pytest

from blkmodel.view.facts.irqs import interrupts_seen
from blkmodel.view.figures.irqs import irqs, last_cpu
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


def came_to(seen, cpus):
    """How often a queue's interrupt came to one of these CPUs."""
    return sum(line.counts[cpu] for line in seen.lines if line.managed for cpu in cpus)


def test_with_a_queue_for_each_cpu_nobody_disturbs_another():
    seen = interrupts_seen(8, 8, "6-7", False, None, None)
    assert came_to(seen, (6, 7)) == 0
    assert [line.may for line in seen.lines[1:]] == [str(cpu) for cpu in range(8)]


def test_with_fewer_queues_an_isolated_cpu_is_interrupted_for_others():
    old, new = (interrupts_seen(8, 3, "managed_irq,4-7", newer, None, None) for newer in (False, True))
    assert old.kept == set(range(8)), "5.4 does not know the flag, and isolates nobody"
    assert old.said == ("isolcpus: Error, unknown flag",)
    plain = interrupts_seen(8, 3, "4-7", True, None, None)
    assert came_to(plain, range(4, 8)) == 1
    assert (came_to(new, range(4, 8)), new.said) == (0, ())
    assert [line.may for line in new.lines] == [line.may for line in plain.lines], "where it may go is what it was"
    assert new.lines[3].now == 7, "whose CPUs are all isolated goes on to one of them"


def test_an_offline_cpu_takes_its_interrupt_with_it():
    seen = interrupts_seen(4, 4, "", False, 2, None)
    assert [line.now for line in seen.lines[1:]] == [0, 1, None, 3]


@pytest.mark.parametrize(("written", "said"), [(0, "/proc/irq/24/smp_affinity_list: done"),
                                               (1, "/proc/irq/25/smp_affinity_list: EIO")])
def test_what_is_written_is_said(written, said):
    html = irqs(written=written)
    assert said in words(html)
    assert said in label(html)
    assert "3 interrupts of 4 cannot be moved" in words(html)


def test_each_count_is_drawn():
    seen = interrupts_seen(5, 2, "4", False, 1, None)
    html = irqs(5, 2, "4", False, 1)
    cells = [cell for cell in parsed(html).iter("td") if cell.get("class") != "of"]
    assert [cell.text for cell in cells] == [str(count or "·") for line in seen.lines for count in line.counts]
    assert [cell.get("class") for cell in cells[:5]] == ["kept", "kept away", "kept", "kept", "spared"]
    assert last_cpu(5) == 4


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("irqs(4, 2, '3')", "blkmodel.view.figures.irqs")) == 1
