"""Tables of partitions as sfdisk writes them: of DOS (`mbr`, without logical ones) and of UEFI (`gpt`)."""

import re
from binascii import crc32
from collections.abc import Sequence
from struct import pack

LABELS = ("mbr", "gpt")
TWO = ((2048, 32768), (34816, 65536))
"""The partitions of a disk where nobody says: (first sector, sectors) of each."""
LINUX, PROTECTIVE = 0x83, 0xEE
LINUX_GUID = bytes.fromhex("af3dc60f83847247 8e793d69d8477de4")
ENTRIES = 128


def parsed(parts: str) -> list[tuple[int, int]]:
    """The partitions of a text such as `2048+32768,34816+65536`: (first sector, sectors) of each."""
    if not re.fullmatch(r"([0-9]{1,18}\+[0-9]{1,18}(,(?!$)|$))*", parts) or parts.count(",") > 255:
        raise ValueError(f"parts={parts[:60]!r}: expected FIRST+SECTORS of each, such as 2048+32768,34816+65536")
    return [(int(first), int(sectors)) for first, sectors in re.findall(r"(\d+)\+(\d+)", parts)]


def tables(label: str, sectors: int, parts: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """What is written to a disk of so many sectors for partitions of (first sector, sectors): pairs of the byte where
    it goes and the bytes. ValueError says what does not fit."""
    if label not in LABELS:
        raise ValueError(f"label={label!r}: a table is one of {', '.join(LABELS)}")
    if len(parts) > (most := 4 if label == "mbr" else ENTRIES):
        raise ValueError(f"{len(parts)} partitions: a table has {most} at most")
    behind = first = 1 if label == "mbr" else 2 + ENTRIES // 4
    for start, length in parts:
        if start < behind or length < 1:
            raise ValueError(f"a partition of {length} sectors at sector {start}: it has one at least, and the first "
                             f"that is free is {behind}")
        behind = start + length
    end = sectors if label == "mbr" else sectors - first + 1
    if behind > end:
        raise ValueError(f"the partitions end at sector {behind}: there is room up to {end}")
    return [(0, _sector([(LINUX, *part) for part in parts]))] if label == "mbr" else _gpt(sectors, parts)


def _sector(entries: Sequence[tuple[int, int, int]]) -> bytes:
    """A sector with a table of (type, first sector, sectors)."""
    packed = b"".join(pack("<4xB3xII", kind, start, min(length, 0xFFFFFFFF)) for kind, start, length in entries)
    return bytes(440) + b"BLKM\0\0" + packed.ljust(64, b"\0") + b"\x55\xaa"


def _gpt(sectors: int, parts: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """Up to 128 partitions, with names; the table again at the disk's end."""
    entries = b"".join(
        pack("<16s16sQQQ72s", LINUX_GUID, number.to_bytes(16, "little"), start, start + length - 1, 0,
             "".join(f"{letter}\0" for letter in f"part{number}").encode())
        for number, (start, length) in enumerate(parts, 1))
    entries = entries.ljust(ENTRIES * 128, b"\0")
    last, room = sectors - 1, ENTRIES // 4

    def head(place: int, other: int, at: int) -> bytes:
        def packed(crc: int) -> bytes:
            return pack("<8s4I4Q16sQ3I", b"EFI PART", 0x10000, 92, crc, 0, place, other, 2 + room, last - room - 1,
                        b"blkmodel's table", at, ENTRIES, 128, crc32(entries))
        return packed(crc32(packed(0))).ljust(512, b"\0")
    return [(0, _sector([(PROTECTIVE, 1, last)])), (512, head(1, last, 2) + entries),
            (512 * (last - room), entries + head(last, 1, last - room))]
