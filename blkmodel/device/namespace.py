"""A namespace: blocks in memory, and before them the controller's write cache, which loses its power."""

from collections.abc import Iterator
from dataclasses import dataclass, field

CHUNK = 4096
_ZEROS = bytes(CHUNK)


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """The pieces that bytes are in, as (piece, first byte in it, byte behind the last, how many bytes come before)."""
    at, end = offset, offset + length
    while at < end:
        number, start = divmod(at, CHUNK)
        stop = min(CHUNK, start + end - at)
        yield number, start, stop, at - offset
        at += stop - start


@dataclass(eq=False)
class Namespace:
    """`blocks` blocks of 2**shift bytes, all zeros at first. nguid, eui64, uuid: its names, where it has any.

    What was written is in `kept`, and what a loss of power would undo in `cached` before that: both map the number
    of a piece of 4096 bytes to its bytes. bad_read, bad_write: sectors of 512 bytes that can't be read, or written.
    reads, writes: commands so far.
    """

    blocks: int = 131072
    shift: int = 9
    nguid: bytes = b""
    eui64: bytes = b""
    uuid: bytes = b""
    kept: dict[int, bytes] = field(default_factory=dict)
    cached: dict[int, bytes] = field(default_factory=dict)
    bad_read: frozenset[int] = frozenset()
    bad_write: frozenset[int] = frozenset()
    reads: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense, by ValueError."""
        if not 9 <= self.shift <= 16:
            raise ValueError(f"shift={self.shift}: a block has 2**9 to 2**16 bytes")
        if self.blocks < 1:
            raise ValueError(f"blocks={self.blocks}: a namespace has one at least")
        for name, length in (("nguid", 16), ("eui64", 8), ("uuid", 16)):
            if len(getattr(self, name)) not in (0, length):
                raise ValueError(f"{name}: it has {length} bytes, not {len(getattr(self, name))}")

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from byte `offset` on."""
        first, start = divmod(offset, CHUNK)
        if start + length <= CHUNK:
            chunk = self._chunk(first)
            return chunk if length == CHUNK else chunk[start:start + length]
        held = b"".join(map(self._chunk, range(first, (offset + length - 1) // CHUNK + 1)))
        return held if len(held) == length else held[start:start + length]

    def fails(self, bad: frozenset[int], offset: int, length: int) -> bool:
        """Whether one of some bad sectors is among `length` bytes from byte `offset` on."""
        return any(offset < (sector + 1) << 9 and sector << 9 < offset + length for sector in bad)

    def write(self, offset: int, data: bytes, through: bool) -> None:
        """Store bytes: in the cache only, unless they are to go through it."""
        for number, start, stop, at in _pieces(offset, len(data)):
            self._put(number, start, stop, data[at:at + stop - start], through)

    def zero(self, offset: int, length: int, through: bool) -> None:
        """Make bytes zeros: in the cache only, unless that is to be gone through."""
        for number, start, stop, _ in _pieces(offset, length):
            self._put(number, start, stop, _ZEROS[start:stop], through)

    def flush(self) -> None:
        """Write what is cached back, so that it outlasts a loss of power."""
        self.kept.update(self.cached)
        self.cached.clear()

    def lose_power(self) -> None:
        """Lose what is in the cache and nowhere else."""
        self.cached.clear()

    def _put(self, number: int, start: int, stop: int, part: bytes, through: bool) -> None:
        """Replace the bytes of a piece from `start` to `stop`, in the cache or (through) behind it."""
        if stop - start < CHUNK:
            held = self._chunk(number)
            part = held[:start] + part + held[stop:]
        if through:
            self.kept[number] = part
            self.cached.pop(number, None)
        else:
            self.cached[number] = part

    def _chunk(self, number: int) -> bytes:
        """A piece as it is read: what the cache has, else what lasts, else zeros."""
        held = self.cached.get(number)
        return self.kept.get(number, _ZEROS) if held is None else held
