"""Tables for tests: drawn at random, and read as what they mean, without the model."""

from hypothesis import strategies as st

SECTOR = 512
ZERO, ERROR = "zero", "error"


@st.composite
def lines(draw, devices, most=6, kinds=("linear", "striped", ZERO, ERROR), find=lambda *place: place):
    """A table's lines, over devices given as (name, sectors). No two of its sectors are the same one of a disk in the
    end, as find() says: in which order they were written would be chance."""
    found: list[str] = []
    used: set[tuple[str, int]] = set()
    start = 0
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        if kind == "striped":
            stripes = draw(st.integers(1, 4))
            chunk = draw(st.integers(1, 24))
            on = [draw(st.sampled_from(devices)) for _ in range(stripes)]
            rows = min(sectors for _, sectors in on) // chunk
            if not rows:
                continue
            width = chunk * draw(st.integers(1, rows))
            length = width * stripes
            places = [(name, draw(st.integers(0, sectors - width)), width) for name, sectors in on]
            params = f"{stripes} {chunk} {' '.join(f'{name} {at}' for name, at, _ in places)}"
        elif kind == "linear":
            name, sectors = draw(st.sampled_from(devices))
            length = draw(st.integers(1, sectors))
            places = [(name, draw(st.integers(0, sectors - length)), length)]
            params = f"{name} {places[0][1]}"
        else:
            length = draw(st.integers(1, 64))
            places, params = [], ""
        wanted = [find(name, at + n) for name, at, count in places for n in range(count)]
        wanted = [place for place in wanted if place[0] not in (ZERO, ERROR)]
        if len({*used, *wanted}) < len(used) + len(wanted):
            continue
        used.update(wanted)
        found.append(f"{start} {length} {kind} {params}".rstrip())
        start += length
    return found or ["0 8 zero"]


def size_of(table):
    """How many sectors a table has."""
    start, length = table[-1].split()[:2]
    return int(start) + int(length)


def where(table, sector):
    """What a sector is: (device, its sector), (ZERO, 0) or (ERROR, 0)."""
    for line in table:
        start, length, kind, *params = line.split()
        offset = sector - int(start)
        if not 0 <= offset < int(length):
            continue
        if kind == "linear":
            return params[0], int(params[1]) + offset
        if kind == "striped":
            stripes, chunk = int(params[0]), int(params[1])
            number, within = divmod(offset, chunk)
            row, stripe = divmod(number, stripes)
            return params[2 + 2 * stripe], int(params[3 + 2 * stripe]) + row * chunk + within
        return kind, 0
    raise AssertionError(f"sector {sector} is in no line of {table}")


class Reference:
    """What disks and mapped devices hold: stores by device name, tables by device name."""

    def __init__(self, stores):
        self.stores = {name: bytearray(store) for name, store in stores.items()}
        self.tables: dict[str, list[str]] = {}

    def find(self, device, sector):
        """The disk and sector that a sector of a device is in the end; or ZERO or ERROR."""
        while device in self.tables:
            device, sector = where(self.tables[device], sector)
        return device, sector

    def read(self, device, sector, count):
        """The bytes, or None where one of them can't be read."""
        data = b""
        for n in range(sector, sector + count):
            disk, at = self.find(device, n)
            if disk == ERROR:
                return None
            data += bytes(SECTOR) if disk == ZERO else bytes(self.stores[disk][at * SECTOR:(at + 1) * SECTOR])
        return data

    def write(self, device, sector, data):
        """Write what can be written; return whether that was all."""
        whole = True
        for i in range(len(data) // SECTOR):
            disk, at = self.find(device, sector + i)
            if disk == ERROR:
                whole = False
            elif disk != ZERO:
                self.stores[disk][at * SECTOR:(at + 1) * SECTOR] = data[i * SECTOR:(i + 1) * SECTOR]
        return whole
