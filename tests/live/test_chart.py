"""chart, graphs: pictures that are the same on each run and follow the theme; graphs that say what the model did."""

from __future__ import annotations

import re
from xml.dom import minidom

import networkx
import pytest

from blkmodel import boot, scenario
from blkmodel.live.chart import COLOURS, chart, drawn
from blkmodel.live.graphs import arcs, calls, circles, layered, pointers, ways
from blkmodel.trace import Call, record
from blkmodel.view.facts.objects import called


def a_chart(label="Two lines & a box."):
    figure, axes = chart(width=400, height=200)
    axes.plot([0, 0.25, 1.75], [3, 1, 2], label="a <line>", marker="o")
    axes.fill_between([0, 1], [0, 0], [1, 1], color=COLOURS["memory"])
    axes.legend()
    return drawn(figure, label).data


def svg_of(html):
    return minidom.parseString(html[html.index("<svg"):html.index("</svg>") + 6].replace("xlink:", "")).documentElement


def test_a_chart_is_the_same_each_time():
    assert a_chart() == a_chart()


def test_a_chart_has_words_a_size_and_the_figures_colours():
    html = a_chart()
    svg = svg_of(html)
    assert (svg.getAttribute("role"), svg.getAttribute("aria-label")) == ("img", "Two lines & a box.")
    assert (svg.getAttribute("width"), svg.getAttribute("viewBox")) == ("400", "0 0 400 200")
    assert re.findall("#[0-9a-f]{6}", html[html.index("<svg"):]) == [], "a colour that does not follow the theme"
    assert {"var(--blk-default)", "var(--blk-memory)", "var(--blk-ink)"} <= set(re.findall(r"var\([^)]*\)", html))
    texts = [each.firstChild.data for each in svg.getElementsByTagName("text")]
    assert "a <line>" in texts
    assert "0.25" in texts, "words are not rounded"
    assert "<style" not in html[html.index("<svg"):], "its style would be that of the whole page"


def test_names_in_a_chart_are_its_own():
    one, other = a_chart(), drawn(chart()[0], "Another.").data
    for html in (one, other):
        names = re.findall(r' id="([^"]*)"', html)
        assert len(names) == len(set(names))
        assert set(re.findall(r'(?:url\(#|href="#)([\w-]+)', html)) <= set(names)
    assert not set(re.findall(r' id="([^"]*)"', one)) & set(re.findall(r' id="([^"]*)"', other))


@pytest.fixture(scope="module")
def cut():
    boot(4)
    scenario.nvme_probe()
    return record(scenario.io, "nvme0n1", "read", 0, 1 << 20)


def test_calls_are_those_of_the_recording(cut):
    graph = calls(cut)
    roots = sum(event.depth == 0 for event in cut.of(Call))
    assert set(graph) == {event.function for event in cut.of(Call)}
    assert graph.size(weight="weight") + roots == len(cut.of(Call))
    assert [graph.nodes[name]["order"] for name in graph] == list(range(len(graph)))


def test_calls_beneath_a_function(cut):
    graph = calls(cut, "blk_mq_get_request")
    assert graph.in_degree("blk_mq_get_request") == 0
    assert networkx.descendants(graph, "blk_mq_get_request") == set(graph) - {"blk_mq_get_request"}
    assert graph.edges["blk_mq_get_request", "blk_mq_get_tag"]["weight"] == 3


def test_a_bio_that_is_cut_goes_in_a_circle(cut):
    assert circles(calls(cut)) == [{"generic_make_request", "blk_mq_make_request", "__blk_queue_split"}]
    assert circles(calls(cut, "nvme_queue_rq")) == []


def test_arcs_go_down_but_where_a_circle_closes(cut):
    svg = svg_of(arcs(calls(cut, "submit_bio"), "Calls.").data)
    paths = [path.getAttribute("style") for path in svg.getElementsByTagName("path") if "C" in path.getAttribute("d")]
    arcs_only = [style for style in paths if "fill: none" in style]
    assert sum("--blk-changed" in style for style in arcs_only) == 1
    assert sum("--blk-default" in style for style in arcs_only) == calls(cut, "submit_bio").size() - 1
    texts = [each.firstChild.data for each in svg.getElementsByTagName("text")]
    assert [text for text in texts if "×" not in text][:4] == ["submit_bio", "generic_make_request",
                                                              "blk_mq_make_request", "__blk_queue_split"]


def test_pointers_are_followed():
    kernel = boot(2)
    scenario.null_blk_load(submit_queues=2, hw_queue_depth=4)
    disk = scenario.disk("nullb0")
    graph = pointers(disk)
    things = dict(graph.nodes(data="thing"))
    assert things[0] is disk
    assert all(things[0] is disk or networkx.has_path(graph, 0, number) for number in things)
    hctx = next(number for number in things if things[number] is disk.queue.queue_hw_ctx[1])
    way, = networkx.all_shortest_paths(graph, 0, hctx)
    assert [graph.edges[pair]["field"] for pair in networkx.utils.pairwise(way)] == ["queue", "queue_hw_ctx[1]"]
    limits = [number for number in things if called(things[number]) == "queue_limits"]
    assert limits == [], "what lies inside a structure is part of it"
    assert kernel.nr_cpu_ids == 2


def test_ways_are_the_shortest_and_all_of_them():
    graph = networkx.DiGraph([(0, 1), (0, 2), (1, 3), (2, 3), (3, 0), (0, 4), (4, 5), (5, 3)])
    networkx.set_edge_attributes(graph, "f", "field")
    networkx.set_node_attributes(graph, "thing", "name")
    found = ways(graph, 0, [3])
    assert set(found.edges) == {(0, 1), (0, 2), (1, 3), (2, 3)}
    texts = [each.firstChild.data for each in svg_of(layered(found, 0, "Ways.", [0, 1, 3]).data)
             .getElementsByTagName("text")]
    assert sorted(texts) == ["f"] * 4 + ["thing"] * 4
