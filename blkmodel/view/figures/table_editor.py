"""A table as it is typed: the map that it makes, the limits of the device, or the kernel's words of refusal.

    live(table_editor, table="0 2048 linear /dev/nullb0 0")
"""

from html import escape

from blkmodel import scenario
from blkmodel.sim import this
from blkmodel.view.draw import COLOURS, key, log, panel, strip
from blkmodel.view.facts.bio_pieces import TABLE
from blkmodel.view.facts.mapped import SECTORS, areas, lines_of, mapped, targets_of

LIMITS = ("logical_block_size", "physical_block_size", "io_min", "io_opt", "chunk_sectors", "max_sectors",
          "max_segments", "max_discard_sectors")


def table_editor(table: str = TABLE) -> str:
    """Give a new device this table, on a machine with the disks nullb0 and nullb1; `;` ends a line of it."""
    with mapped(lines_of(table)) as (disk, why):
        body, label = _made(disk) if disk else (f'<p class="says bad">There is no such device.</p>{log(why)}',
                                                f"The table is refused: {'; '.join(why)}")
    return panel("blk-md", label, "mapped", body)


def _made(name: str) -> tuple[str, str]:
    targets = targets_of(scenario.disk(name).private_data.map)
    length = sum(target.len for target in targets)
    on_disks: dict[str, list] = {"nullb0": [], "nullb1": []}
    rows, on_device, words = [], [], []
    for i, target in enumerate(targets):
        colour, last = COLOURS[i % len(COLOURS)], target.begin + target.len - 1
        landed = areas(target)
        on_device.append((target.begin, target.len, colour, f"t{i}"))
        for n, (where, first, sectors) in enumerate(landed):
            on_disks[where].append((first, sectors, colour, f"a{i}.{n}"))
        to = "; ".join(f"{where}, sectors {first} to {first + sectors - 1}" for where, first, sectors in landed)
        line = f"sectors {target.begin} to {last}: {target.type.name}" + (f" → {to}" if to else ", on no disk")
        words.append(line)
        rows.append(f"<li>{key(colour)}<span>{escape(line)}</span></li>")
    said = f"{name} has {length} sectors ({length // 2} KiB) and {len(targets)} target{'s' * (len(targets) > 1)}."
    disks = "".join(f"<h4>{where}</h4>{strip(parts, SECTORS)}" for where, parts in on_disks.items())
    used = [name, *(where for where, parts in on_disks.items() if parts)]
    limits = ", ".join(f"{field} {getattr(scenario.disk(name).queue.limits, field)}" for field in LIMITS)
    body = (f'<p class="says">{said}</p>{strip(on_device, length)}<ol>{"".join(rows)}</ol>{disks}'
            f"<h4>Limits</h4>{_limits(used)}")
    lines = [line for line in this().log if "device-mapper: table" in line]
    body += f"<h4>The kernel's log</h4>{log(lines)}" if lines else ""
    return body, f"{said} {'. '.join(words)}. Limits: {limits}."


def _limits(names: list[str]) -> str:
    """A table of limits, the device's beside those of the disks that it uses."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = ""
    for field in LIMITS:
        values = [getattr(scenario.disk(name).queue.limits, field) for name in names]
        won = ' class="won"' if len(set(values[1:])) > 1 else ""  # of disks that differ: whose value it has
        cells = "".join(f"<td{won * (i > 0 and value == values[0])}>{value}</td>" for i, value in enumerate(values))
        rows += f'<tr><th scope="row"><code>{field}</code></th>{cells}</tr>'
    return (f'<div class="scroll" tabindex="0"><table><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody>'
            "</table></div>")
