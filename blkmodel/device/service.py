"""How long a controller takes for an I/O command, and in which order it finishes those that it has."""

from dataclasses import dataclass, field
from random import Random


@dataclass(eq=False)
class Service:
    """A command takes `least` nanoseconds of virtual time, and beyond them a time that is drawn from an exponential
    distribution with mean `extra`. Any number are served at once.

    in_order: none finishes before one that was fetched earlier from the same queue, but `apart` nanoseconds later at
    least, where they take time. Otherwise each finishes when its time is up, and those that take no time finish, of all
    that were fetched at once, in an order that is drawn. The same `seed` gives the same times and orders.
    """

    least: int = 0
    extra: int = 0
    in_order: bool = True
    seed: int = 0
    apart: int = 0
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        """Refuse values that make no sense, by ValueError."""
        for name in ("least", "extra", "apart"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: a time is 0 or more nanoseconds")
        self.random = Random(self.seed)
        self.instant = not self.least and not self.extra

    def time(self) -> int:
        """Draw how long the next command takes."""
        return self.least + round(self.random.expovariate(1 / self.extra)) if self.extra else self.least
