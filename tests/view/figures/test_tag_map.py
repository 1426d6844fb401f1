"""The tag map and its story: every bit shown is the model's, and the story is what the kernel would do."""

from __future__ import annotations

import re
from html import unescape
from xml.etree import ElementTree

import pytest

from blkmodel import scenario
from blkmodel.lib.sbitmap import sbitmap_cleared, sbitmap_weight
from blkmodel.sim import booted, machine
from blkmodel.view.facts.tag_story import Story, story
from blkmodel.view.figures.tag_map import STEPS, bitmap, describe, tag_map
from tests.invariants import any_bit_clear

CASES = [{"depth": 1, "cpus": 1}, {"depth": 2, "cpus": 64}, {"depth": 16}, {"depth": 16, "round_robin": True},
         {"depth": 32, "shallow": 2, "cpus": 8}, {"depth": 100, "cpus": 3, "seed": 9}, {"depth": 1023, "cpus": 64}]
SVG = "{http://www.w3.org/2000/svg}"


def told(step, depth=16, cpus=4, **how):
    with booted(machine(cpus)) as kernel:
        return story(kernel, depth, step, **how)


@pytest.mark.parametrize("step", [0, 11, 29, STEPS])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_shows_every_bit(case, step):
    html = tag_map(step=step, **case)
    assert html == tag_map(step=step, **case)
    tree = ElementTree.fromstring(html)
    now = told(step, **case)
    bits, words = now.bits.sb, tree.findall(".//*[@data-key]")
    assert len(words) == bits.map_nr
    taken = back = tags = 0
    for word in words:
        cells = [g for g in word.iter(f"{SVG}g") if g.get("class") == "part"]
        tags += len(cells)
        taken += sum("taken" in cell[0].text for cell in cells)
        back += sum("given back" in cell[0].text for cell in cells)
    assert tags == bits.depth
    assert back == sbitmap_cleared(bits)
    assert taken == sbitmap_weight(bits) - back == len(now.owners)
    assert html.count('class="ws') == 8
    assert unescape(re.search(r'aria-label="([^"]*)"', html)[1]).endswith(describe(now.bits))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_always_holds_in_the_story(case):
    with booted(machine(case.get("cpus", 4))) as kernel:
        tale = Story(kernel, case["depth"], case.get("round_robin", False), case.get("shallow", 0), case.get("seed", 1))
        sb = tale.bits.sb
        for step in range(STEPS):
            tale.move(step)
            held = {(i << sb.shift) + bit for i, word in enumerate(sb.map) for bit in range(word.depth)
                    if (word.word & ~word.cleared) >> bit & 1}
            assert held == set(tale.owners)
            assert all(word.cleared & ~word.word == 0 for word in sb.map), "only what was taken can be given back"
            asleep = [each for ws in tale.bits.ws for each in ws.wait.head]
            assert {each.private for each in asleep} == set(tale.waiting)
            assert tale.bits.ws_active == len(tale.waiting)
            assert not any(task.runnable for task in tale.waiting)
            if case.get("shallow"):
                assert all(tag % (1 << sb.shift) < case["shallow"] for tag in held)
            if tale.waiting and tale.said[-1].endswith("]."):
                free = sum(1 for word in sb.map for bit in range(min(word.depth, case.get("shallow") or 64))
                           if not (word.word & ~word.cleared) >> bit & 1)
                assert free == 0, "a task slept although there was a tag"


def test_the_story_has_all_that_there_is_to_learn():
    said = "\n".join(line for step in range(1, STEPS + 1) for line in told(step).said)
    for what in ("exactly where its hint said", "its hint said", "noted in cleared", "become free now",
                 "finds no free tag", "completes a batch of 2"):
        assert what in said, what
    assert "its hint said" in told(1, round_robin=True).said[0] or "exactly" in told(1, round_robin=True).said[0]


def test_the_number_in_a_bit_is_the_cpu_that_took_it():
    now = told(9)
    html = tag_map(step=9)
    for tag, cpu in now.owners.items():
        assert f"<title>tag {tag}: taken by CPU {cpu}" in html
    for cpu, hint in enumerate(now.bits.alloc_hint):
        assert f"CPU {cpu} → {hint}<" in html


def test_a_step_past_the_end():
    with pytest.raises(ValueError, match=f"from 0 to {STEPS}"):
        tag_map(step=STEPS + 1)


def test_a_drivers_own_tags():
    with booted(2):
        scenario.null_blk_load(submit_queues=1, hw_queue_depth=8)
        tags = scenario.disk("nullb0").queue.tag_set.tags[0].bitmap_tags
        html = bitmap(tags)
        assert "8 tags in 4 words of 2 bits" in html
        assert any_bit_clear(tags.sb)
        assert 'class="now"' not in html
