"""The way of a read through a multipath device while paths fail, a line for each thing that happens.

    live(read_paths, groups=GROUPS, selector=["round-robin", "service-time"], queue_if_no_path=Check(), failing=(0, 3),
         medium=Check())
"""

from blkmodel.view.draw import panel
from blkmodel.view.facts.paths import way

GROUPS = {"one, of three paths": "0 1 2", "one path, then two": "0|1 2", "a group for each path": "0|1|2"}


def read_paths(groups: str = "0|1 2", selector: str = "round-robin", queue_if_no_path: bool = False, failing: int = 1,
               medium: bool = False) -> str:
    """Draw where a read of 4 KiB is, and which paths have failed, from the top down.

    groups: paths of each group, as in "0|1 2". failing: on so many paths the first read fails, where `medium` with a
    medium error. Path 0 is reinstated after 250 ms.
    """
    told, came, status = way(groups, selector, queue_if_no_path, failing, medium)
    said = f"The read comes to {came}. Paths that fail: {len({each for row in told for each in row.failed})}."
    heads = "".join(f'<th scope="colgroup" colspan="{len(group.split())}">{number}: {selector}</th>'
                    for number, group in enumerate(groups.split("|"), 1))
    columns = "".join(f'<th scope="col">{head}</th>' for head in ("ms", "dm-0", "path 0", "path 1", "path 2"))
    rows = "".join(
        f'<tr><td>{row.ms:g}</td><td>{"●" if row.path is None else ""}</td>'
        + "".join(f'<td class="{"spared" if path in row.failed else "kept"}">{"●" if path == row.path else ""}</td>'
                  for path in range(3))
        + f'<td class="of">{row.said}</td></tr>' for row in told)
    return panel("blk-irqs", f"{said} {'; '.join(row.said for row in told)}. Status: {status}", "irqs",
                 f'<p><b>{said}</b></p><table><thead><tr><th></th><th scope="col">group</th>{heads}<th></th></tr><tr>'
                 f'{columns}<th></th></tr></thead><tbody>{rows}</tbody></table>'
                 f"<p><code>{status}</code></p>",
                 '<p class="dim">●: where the request is. Shaded: a path that has failed.</p>')
