"""Direct access to memory that is a disk: the reference kernel is configured without it (drivers/dax/super.c,
dax.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blkmodel.include.linux.fs import block_device



def dax_get_by_host(host: str) -> Any:
    """The memory behind a disk of that name: there is none."""
    return None


def dax_supported(dax_dev: Any, bdev: block_device, blocksize: int, start: int, len: int) -> bool:
    return False


def dax_synchronous(dax_dev: Any) -> bool:
    return True


def dax_write_cache_enabled(dax_dev: Any) -> bool:
    return False
