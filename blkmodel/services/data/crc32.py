"""Checksums (crc32.h)."""

import binascii


def crc32(seed: int, data: bytes) -> int:
    """The CRC of Ethernet, little-endian, of 32 bits; neither the seed nor the result is inverted."""
    return binascii.crc32(data, seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
