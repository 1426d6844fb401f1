"""The page runs that hold one hardware queue's requests: how many fit, and what is left over."""

from html import escape

from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.sim import Memory
from blkmodel.view.draw import panel, stretched
from blkmodel.view.facts.tag_pages import contents, describe, summary

_ROW = 65536


def page_runs(tags: blk_mq_tags, memory: Memory, cmd_size: int = 0) -> str:
    """Draw the runs of a blk_mq_tags in the order in which they were allocated, to scale: a full row is 64 KiB."""
    runs = contents(tags, memory, cmd_size)
    return panel("blk-runs", describe(runs), "page_runs",
                 f'<p>{escape(summary(runs))} <span class="dim">A full row is 64 KiB.</span></p>'
                 f'<div class="strip" aria-hidden="true">{"".join(map(_run, runs))}</div>')


def _run(run: dict[str, int]) -> str:
    used, count = run["size"] - run["waste"], run["last"] - run["first"] + 1
    ticks = "".join(f"M{i * run['stride'] / 64:g} 0v20" for i in range(1, count))
    tip = (f"{run['addr']:#x}, node {run['node']}: order {run['order']}, {run['size'] >> 10} KiB; "
           f"tags {run['first']} to {run['last']}, {run['waste']} bytes left over")
    tags = f"{run['first']}–{run['last']}" if count > 1 else f"{run['first']}"
    said = f"order {run['order']} · {run['size'] >> 10} KiB · tags {tags} · {run['waste']} bytes left over"
    if run["order"] < 4:
        said = (f"{run['first']}", tags, f"tags {tags}", f"order 3 · 32 KiB · tags {tags}")[run["order"]]
    wide = run["size"] / 64
    shapes = (f'<rect class="waste" width="{wide:g}" height="20"/><rect class="box memory" width="{used / 64:g}" '
              f'height="20"/><path class="edge-line" d="{ticks}"/>')
    return (f'<div class="run" style="width:{100 * run["size"] / _ROW:g}%" data-key="{run["addr"]:x}" title="{tip}">'
            f"<span>{said}</span>{stretched('blk-runs-bar', wide, 20, shapes)}</div>")
