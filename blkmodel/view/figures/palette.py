"""How to read the figures: what each colour stands for."""

from blkmodel.view.draw import keys, panel, rect

COLOURS = {
    "cpu": "a CPU", "ctx": "a software queue, one for each CPU",
    "default": "a hardware queue, for all I/O or for writes; a worker of the kernel",
    "read": "a hardware queue for reads", "poll": "a hardware queue for polling; an interrupt",
    "tags": "tags; a softirq", "memory": "a request and its memory; an interrupt vector",
    "waste": "memory that stays empty; the device", "changed": "what has just changed, fails, or is shared",
    "band": "what lies together; a queue pair", "absent": "not there, or not used",
    "edge-line": "anything else; as a thick line: the process itself"}


def palette() -> str:
    """Draw the key to the colours of all figures."""
    cells = [(rect(1, 1, 13, 13, f"box {kind}"), what) for kind, what in COLOURS.items()]
    return panel("blk-palette", "The colours of all figures", "palette", keys("blk-palette-key", cells))
