"""What can go wrong with a controller, and when. `Controller.struck` asks at every step whether a fault strikes."""

import re
from dataclasses import dataclass
from typing import Any

FAIL, SILENT, FATAL, GONE, STUCK = "fail", "silent", "fatal", "gone", "stuck"
ENDS = (FATAL, GONE)
COMMAND, ENABLE, DISABLE, SHUTDOWN = "command", "enable", "disable", "shutdown"

_EFFECTS = {COMMAND: (FAIL, SILENT, *ENDS), ENABLE: (STUCK, *ENDS), DISABLE: (STUCK, *ENDS), SHUTDOWN: (STUCK, *ENDS)}


@dataclass(eq=False)
class Fault:
    """An effect, and the step at which it shows: `at` a command, or when the host enables, disables or shuts down.

    effect: a command can `fail` with `status`; stay without answer (`silent`); or end the controller: it reports that
    it is broken (`fatal`), or is no longer on the bus (`gone`). Of the other steps it can report never that it did
    them (`stuck`). opcode, queue: which commands are meant; None: any. nth: the one that counts, from 1; 0: every one.
    """

    effect: str
    at: str = COMMAND
    nth: int = 1
    opcode: int | None = None
    queue: int | None = None
    status: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense, by ValueError."""
        if self.at not in _EFFECTS:
            raise ValueError(f"at={self.at!r}: a fault shows at {', '.join(_EFFECTS)}")
        if self.effect not in _EFFECTS[self.at]:
            raise ValueError(f"effect={self.effect!r}: at {self.at} it can be {', '.join(_EFFECTS[self.at])}")
        if self.effect == FAIL and not 0 < self.status < 0x8000:
            raise ValueError(f"status={self.status:#x}: a command fails with a status from 0x1 to 0x7fff")
        if self.nth < 0:
            raise ValueError(f"nth={self.nth}: it counts from 1, or is 0 for every time")

    def strikes(self, at: str, queue: int | None = None, opcode: int | None = None) -> bool:
        """Whether it shows now, at such a step. To be asked at every step, as it counts them."""
        if at != self.at or self.queue not in (None, queue) or self.opcode not in (None, opcode):
            return False
        self.seen += 1
        return self.nth in (0, self.seen)


def faults_of(text: str) -> list[Fault]:
    """The faults that a text says: `silent queue=1 opcode=2; fail status=0x281 nth=3`. Each begins with its effect; the
    other fields of Fault follow by name. ValueError says what cannot be."""
    faults = []
    for each in filter(None, map(str.strip, text.split(";"))):
        effect, *words = each.split()
        values: dict[str, Any] = {}
        for word in words:
            found = re.fullmatch(r"(at)=(\w+)|(nth|opcode|queue|status)=(0x[0-9a-f]{1,4}|[0-9]{1,5})", word)
            if not found:
                raise ValueError(f"fault {each!r}: {word!r} is neither at=STEP nor nth, opcode, queue or status=NUMBER")
            values |= {found[1]: found[2]} if found[1] else {found[3]: int(found[4], 0)}
        faults.append(Fault(effect, **values))
    return faults
