"""The structure graph: what the cards hold is what the objects hold, each object once, and every arrow leads to one."""

import json
import re
from html import unescape

import pytest
from hypothesis import given, strategies as st

from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.sim.memory import address_of
from blkmodel.sim.structure import Array, sizeof
from blkmodel.view.facts import objects
from blkmodel.view.facts.recorded import recorded
from blkmodel.view.figures.structure_graph import KEPT, graph, structure_graph
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

SET = "nullb0.queue.tag_set"


def cards_of(html):
    """Number of each card → its name, what its small print says, and its rows, name → value."""
    found = {}
    for card in parsed(html).iter("section"):
        name, number, small = list(card.find("h5"))
        rows = {row.find("dt").text: "".join(row.find("dd").itertext()) for row in card.find("dl")}
        found[int(number.text)] = "".join(name.itertext()), list(small.itertext()), rows
    return found


def test_cards_hold_what_the_model_holds():
    kernel = recorded("load").kernel
    tag_set = objects.find(kernel, SET)
    cards = cards_of(structure_graph(depth=2, flipped="ops, tag_list"))
    name, small, rows = cards[1]
    assert (name, small) == ("blk_mq_tag_set", ["160 bytes"])
    assert rows["nr_hw_queues"] == str(tag_set.nr_hw_queues) == "3"
    assert rows["flags"] == hex(tag_set.flags)
    array, tags = int(rows["tags"].removeprefix("→ ")), tag_set.tags
    assert cards[array][:2] == ("pointer[4]", ["32 bytes", f"{address_of(tags):x}"])
    name, small, rows = cards[int(cards[array][2]["[0]"].removeprefix("→ "))]
    assert (name, small) == ("blk_mq_tags", [f"{sizeof(blk_mq_tags)} bytes", f"{address_of(tags[0]):x}"])
    assert rows["nr_tags"] == str(tags[0].nr_tags) == "32"


@pytest.mark.parametrize("scenario", KEPT.values())
@pytest.mark.parametrize("everything", [False, True])
def test_each_object_is_drawn_once_and_each_arrow_leads_to_one(scenario, everything):
    kernel = recorded(scenario).kernel
    for root in objects.anchors(kernel):
        for depth in range(4):
            html = structure_graph(scenario, root, depth, 2, everything=everything)
            cards = cards_of(html)
            assert sorted(cards) == list(range(1, len(cards) + 1))
            addresses = [small[-1] for _, small, _ in cards.values() if small and small[-1].startswith("ffff")]
            names = [(name, small) for name, small, _ in cards.values() if small and small[-1].startswith("ffff")]
            assert len(set(map(str, names))) == len(addresses)
            for _, _, rows in cards.values():
                for value in rows.values():
                    if lead := re.fullmatch(r"[→⊃] (\d+)", value):
                        assert int(lead[1]) in cards


def test_zero_fields_are_shown_when_asked_for():
    some = cards_of(structure_graph(depth=0))[1][2]
    every = cards_of(structure_graph(depth=0, everything=True))[1][2]
    assert "reserved_tags" not in some
    assert every["reserved_tags"] == "0"
    assert some.items() <= every.items()


def buttons(html, name):
    """What the buttons of a figure set a parameter to, by what they are called."""
    found = {}
    for button in parsed(html).iter("button"):
        parameter, _, value = button.get("data-set").partition("=")
        if parameter == name:
            found[button.get("aria-label") or "".join(button.itertext())] = json.loads(value)
    return found


def test_a_row_folds_and_unfolds_what_it_leads_to():
    folded = structure_graph(depth=0)
    assert len(cards_of(folded)) == 1
    unfolded = structure_graph(depth=0, flipped=buttons(folded, "flipped")["tags"])
    assert [card[0] for card in cards_of(unfolded).values()] == ["blk_mq_tag_set", "pointer[4]"]
    again = structure_graph(depth=0, flipped=buttons(unfolded, "flipped")["tags[0]"])
    assert [card[0] for card in cards_of(again).values()] == ["blk_mq_tag_set", "pointer[4]", "blk_mq_tags"]
    back = structure_graph(depth=0, flipped=buttons(again, "flipped")["tags"])
    assert len(cards_of(back)) == 1
    assert len(cards_of(structure_graph(depth=1, flipped="tags"))) == len(cards_of(structure_graph(depth=1))) - 1


def test_every_part_of_the_way_and_every_card_can_be_the_root():
    html = structure_graph(depth=2, flipped="tag_list")
    roots = buttons(html, "root")
    assert {"nullb0", "nullb0.queue", SET, f"{SET}.tags[0]"} <= set(roots.values())
    for root in roots.values():
        first = cards_of(structure_graph(root=root))[1][0]
        assert first == objects.called(objects.find(recorded("load").kernel, root))


@pytest.mark.parametrize(("path", "said"), [
    ("", "must begin with nullb0"),
    ("sda", "'sda' must begin with nullb0"),
    ("nullb0.kew", "nullb0 has no field 'kew'; it has"),
    ("nullb0.queue.tag_set.tags[4]", "has items 0 to 3, and no 4"),
    ("nullb0.queue[0]", "nullb0.queue has no items: it is request_queue"),
    ("nullb0.queue.elevator.type", "nullb0.queue.elevator has no field 'type'; it has none"),
    ("nullb0.queue.nr_requests", "nullb0.queue.nr_requests is 32: it points to nothing"),
    ("nullb0.queue->tag_set", "after nullb0.queue comes .field or"),
])
def test_a_path_that_leads_nowhere(path, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        structure_graph(root=path)


@given(st.integers(0, 3), st.integers(1, 6), st.sampled_from(["", "tags", "map, tags[0].rqs", "nothing, like this"]))
def test_the_words_say_what_the_cards_say(depth, items, flipped):
    html = structure_graph(depth=depth, items=items, flipped=flipped)
    cards = cards_of(html)
    said = label(html)
    for number, (name, _, rows) in cards.items():
        assert f" {number}. {name}" in said
        for row, value in rows.items():
            assert (f"{row}={value}" in said or f"{row} to {value[2:]}" in said
                    or f"{row}={value.removeprefix('▸ ')}" in said)


def test_arrays_and_lists_alone():
    kernel = recorded("load").kernel
    tags = objects.find(kernel, f"{SET}.tags")
    assert isinstance(tags, Array)
    with kernel:
        assert "4 in all" in words(graph(tags, items=2))
        assert not list(parsed(graph(tags)).iter("button")), "nothing answers in a still"
        entries = objects.find(kernel, f"{SET}.tag_list")
        assert unescape(words(graph(entries, depth=1))).count("request_queue") == 1


def test_fields_that_are_wanted_and_no_others():
    kernel = recorded("load").kernel
    with kernel:
        html = graph(objects.find(kernel, SET), wanted={"blk_mq_tag_set": ["nr_maps", "reserved_tags", "tags"]})
    assert cards_of(html)[1][2] == {"nr_maps": "1", "reserved_tags": "0", "tags": "→ 2"}


def test_too_much_is_said_and_not_drawn():
    html = structure_graph(root="nullb0", depth=4, items=8)
    assert len(cards_of(html)) == 60
    assert "more are not drawn: fold something" in words(html)


def test_the_same_every_time():
    assert len(in_fresh_interpreters("structure_graph()", "blkmodel.view.figures.structure_graph")) == 1
