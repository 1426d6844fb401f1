"""How long a controller takes for an I/O command, and in which order it finishes those that it has."""

from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import heapreplace
from random import Random


@dataclass(eq=False)
class Service:
    """A command takes `least` nanoseconds of virtual time, and beyond them a time that is drawn from an exponential
    distribution with mean `extra`; or, where `quantiles` are given, a time that is drawn from these: rising pairs of a
    fraction, from 0 to 1, and the nanoseconds that this fraction of commands do not exceed. Between two of them any
    time is as likely.

    servers: how many commands are served at once; others wait, the first fetched first. 0: any number.
    in_order: none finishes before one that was fetched earlier from the same queue, but `apart` nanoseconds later at
    least, where they take time. Otherwise each finishes when its time is up, and those that take no time finish, of all
    that were fetched at once, in an order that is drawn. The same `seed` gives the same times and orders.
    """

    least: int = 0
    extra: int = 0
    in_order: bool = True
    seed: int = 0
    apart: int = 0
    servers: int = 0
    quantiles: tuple[tuple[float, int], ...] = ()
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        """Refuse values that make no sense, by ValueError."""
        for name in ("least", "extra", "apart", "servers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: it is 0 or more")
        steps = list(zip(self.quantiles, self.quantiles[1:], strict=False))
        if (self.quantiles and (self.quantiles[0][0], self.quantiles[-1][0]) != (0, 1)) or not all(
                low < high and 0 <= least <= most for (low, least), (high, most) in steps):
            raise ValueError(f"quantiles={self.quantiles}: fractions rise from 0 to 1, and times do not fall")
        self.random = Random(self.seed)
        self.instant = not self.least and not self.extra and not self.quantiles
        self._free = [0] * self.servers

    def time(self) -> int:
        """Draw how long the next command takes."""
        if self.quantiles:
            drawn = self.random.random()
            then = bisect_right(self.quantiles, drawn, key=lambda pair: pair[0])
            (low, least), (high, most) = self.quantiles[then - 1:then + 1]
            return round(least + (most - least) * (drawn - low) / (high - low))
        return self.least + round(self.random.expovariate(1 / self.extra)) if self.extra else self.least

    def end(self, now: int) -> int:
        """When a command that was fetched now will be served, `apart` aside."""
        took = self.time()
        if not self.servers:
            return now + took
        begin = max(now, self._free[0])
        heapreplace(self._free, begin + took)
        return begin + took
