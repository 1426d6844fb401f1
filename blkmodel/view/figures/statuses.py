"""What a controller's status becomes on its way to the process: tried again, renamed twice, told to the log or not.

    live(status_becomes, status=Choice(STATUSES), dont_retry=False, op=["read", "write"], times=(1, 7))
"""

from html import escape

from blkmodel.block.blk_core import BLK_ERRORS
from blkmodel.include.linux import nvme
from blkmodel.view.draw import kernel_log, panel
from blkmodel.view.facts.incidents import ending

_KNOWN = sorted((value, name) for name, value in vars(nvme).items()
                if name.startswith("NVME_SC_") and 0 < value < nvme.NVME_SC_CRD)
STATUSES = {f"{value:#x} {name[8:].replace('_', ' ').lower()}": value for value, name in _KNOWN}


def status_becomes(status: int = 0x281, dont_retry: bool = False, op: str = "read", times: int = 1) -> str:
    """Draw what becomes of a read or write of 4 KiB whose command ends with a status, so many times.

    dont_retry: with the bit that says that trying again is in vain.
    """
    if status not in STATUSES.values():
        raise ValueError(f"status={status:#x}: it is one of {', '.join(map(hex, STATUSES.values()))}")
    found = ending(status, dont_retry, op, times)
    name = BLK_ERRORS[found.status][1] or "success"
    steps = [("controller", f"status {status:#x}{', do not retry' if dont_retry else ''}; the command is sent "
                            f"{'once' if found.attempts == 1 else f'{found.attempts} times'}"),
             ("nvme_error_status()", f"the last one: BLK_STS {found.status}, {name}"), ("process", found.result)]
    tone = "" if found.result.endswith("bytes") else ' class="bad"'
    rows = "".join(f"<li><code>{escape(who)}</code> <b{tone if who == 'process' else ''}>{escape(what)}</b></li>"
                   for who, what in steps)
    said = "; ".join(f"{who}: {what}" for who, what in steps)
    return panel("blk-break", f"{said}. Log: {' / '.join(found.log) or 'nothing'}.", "unwinding",
                 f'<ol class="blk-frames">{rows}</ol>{kernel_log(list(found.log))}')
