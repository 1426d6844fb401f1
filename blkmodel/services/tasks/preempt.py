"""In which kind of context a CPU is (include/linux/preempt.h)."""

from blkmodel.sim import this


def in_interrupt() -> bool:
    """Whether an interrupt or a softirq is being handled, which must not sleep."""
    return this().context.kind in ("irq", "softirq")
