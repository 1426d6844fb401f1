"""What is a graph, as networkx has it: who calls whom in a recording, and who points to whom in a kernel's memory."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import networkx
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from blkmodel.live.chart import COLOURS, chart, drawn
from blkmodel.sim import Array
from blkmodel.trace import Call, Recording, walk
from blkmodel.view.facts.objects import join, rows

_ROW, _LETTER, _STOREY = 16, 6.7, 92  # pixels


def calls(recording: Recording, root: str = "") -> networkx.DiGraph:
    """Who calls whom. A function's `order` counts the first calls, from 0; an edge's `weight` says how often.

    root: a function; only what is called beneath it counts.
    """
    graph = networkx.DiGraph()
    for moment in walk(recording):
        above = [call.function for call in moment.path]
        if type(moment.event) is not Call or root not in ["", moment.event.function, *above]:
            continue
        if moment.event.function not in graph:
            graph.add_node(moment.event.function, order=len(graph))
        if above and (not root or root in above):
            pair = above[-1], moment.event.function
            graph.add_edge(*pair, weight=graph.get_edge_data(*pair, {"weight": 0})["weight"] + 1)
    return graph


def circles(graph: networkx.DiGraph) -> list[set[str]]:
    """The functions that call each other in a circle: a set for each circle."""
    return [found for found in networkx.strongly_connected_components(graph) if len(found) > 1]


def arcs(graph: networkx.DiGraph, label: str) -> HTML:
    """Draw who calls whom: a line for each function, below all that call it, and an arc for each pair.

    A call that closes a circle leads upwards. It is drawn in another colour and dashed. A number says how often a
    function was called, where that is more than once.
    """
    order = dict(graph.nodes(data="order"))
    parts = networkx.condensation(graph)
    members = {part: sorted(names, key=lambda name: order[name]) for part, names in parts.nodes(data="members")}
    ranked = networkx.lexicographical_topological_sort(parts, key=lambda part: order[members[part][0]])
    names = [name for part in ranked for name in members[part]]
    line = {name: number for number, name in enumerate(names)}
    width, begin = 560, _LETTER * max(map(len, names)) + 12
    figure, axes = _blank(width, _ROW * len(names) + 4)
    for name, number in line.items():
        times = graph.in_degree(name, weight="weight")
        axes.text(2, _ROW * (number + 0.78), name, size=11, family="monospace")
        if times > 1:
            axes.text(begin + 26, _ROW * (number + 0.78), f"{times} ×", size=10, ha="right", color=COLOURS["dim"])
    begin += 32
    longest = max((abs(line[a] - line[b]) for a, b in graph.edges), default=1)
    for above, below in sorted(graph.edges, key=lambda edge: (line[edge[0]], line[edge[1]])):
        y, to, back = _ROW * (line[above] + 0.5), _ROW * (line[below] + 0.5), line[above] >= line[below]
        out = begin + 14 + (width - begin - 20) * (abs(line[above] - line[below]) / longest) ** 0.6 * 4 / 3
        curve = Path([(begin, y), (out, y), (out, to), (begin + 4, to)],
                     [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(PathPatch(curve, fill=False, linestyle="--" if back else "-", linewidth=2 if back else 1,
                                 edgecolor=COLOURS["changed" if back else "default"]))
        axes.plot(begin + 3, to, marker="<", markersize=4, color=COLOURS["changed" if back else "default"])
    return drawn(figure, label)


def pointers(root: Any) -> networkx.DiGraph:
    """Who points to whom, of all that can be reached from a structure: a number for each, the root's is 0.

    A node's `thing` is the structure. What lies inside one, and arrays of pointers, are part of it. An edge's `field`
    is the first field that holds the pointer.
    """
    things, edges, number = [root], [], {id(root): 0}
    holder: dict[int, tuple[int, str]] = {}
    for at, thing in enumerate(things):
        for row in rows(thing, items=1 << 20):
            if row.target is None:
                continue
            if (to := number.setdefault(id(row.target), len(things))) == len(things):
                things.append(row.target)
            edges.append((at, row.name, to))
            if row.inside or isinstance(row.target, list | tuple | Array):
                holder.setdefault(to, (at, row.name))
    graph = networkx.DiGraph()
    for at, name, to in edges:
        (one, path), (other, _) = _held(at, holder), _held(to, holder)
        if one != other and not graph.has_edge(one, other):
            graph.add_node(one, thing=things[one])
            graph.add_node(other, thing=things[other])
            graph.add_edge(one, other, field=join(path, name))
    return graph


def _held(number: int, holder: dict[int, tuple[int, str]]) -> tuple[int, str]:
    """The structure in which something lies, and the way to it from there."""
    path = ""
    while number in holder and number:
        number, name = holder[number]
        path = join(name, path) if path else name
    return number, path


def ways(graph: networkx.DiGraph, root: Any, goals: Iterable[Any]) -> networkx.DiGraph:
    """Return the shortest ways from a node to others: all of them, where several are as short."""
    found = networkx.DiGraph()
    for goal in goals:
        for way in networkx.all_shortest_paths(graph, root, goal):
            found.add_nodes_from((node, graph.nodes[node]) for node in way)
            found.add_edges_from((one, other, graph.edges[one, other]) for one, other in pairwise(way))
    return found


def layered(graph: networkx.DiGraph, root: Any, label: str, lit: Sequence[Any] = ()) -> HTML:
    """Draw ways that lead from a root down. Nodes have a `name`, edges a `field`; a thick way leads along `lit`."""
    lines, width = list(networkx.bfs_layers(graph, root)), 620
    place: dict[Any, tuple[float, float]] = {}
    figure, axes = _blank(width, _STOREY * len(lines) - 44)
    for number, line in enumerate(lines):
        above = {node: [place[each][0] for each in graph.predecessors(node) if each in place] or [0] for node in line}
        line.sort(key=lambda node: sum(above[node]) / len(above[node]))
        place |= {node: (width * (at + 0.5) / len(line), _STOREY * number + 22) for at, node in enumerate(line)}
    for one, other, field in graph.edges(data="field"):
        (x, y), (to, end) = place[one], place[other]
        on = (one, other) in pairwise(lit)
        axes.annotate("", (to, end - 16), (x, y + 16), arrowprops={
            "arrowstyle": "-|>", "color": COLOURS["changed" if on else "dim"], "linewidth": 2 if on else 1})
        far = to < x - 100  # words stand beside an arrow, or under it where it leans
        axes.text(x + (to - x) * (0.75 if far else 0.5) + (6 if far or to == x else -6),
                  y + (end - y) * (0.75 if far else 0.5) + (8 if to > x or far else 0), field, size=10, zorder=4,
                  ha="left" if far or to == x else "right", bbox={"facecolor": COLOURS["paper"], "lw": 0, "pad": 1})
    for node, (x, y) in place.items():
        on = node in lit
        axes.text(x, y + 4, graph.nodes[node]["name"], size=11, family="monospace", ha="center", bbox={
            "boxstyle": "round,pad=0.5", "facecolor": COLOURS["band"], "linewidth": 2 if on else 1,
            "edgecolor": COLOURS["changed" if on else "line"]})
    return drawn(figure, label)


def _blank(width: int, height: int) -> tuple[Figure, Any]:
    """A figure whose units are pixels, from the upper left corner."""
    figure, axes = chart(width=width, height=height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes
