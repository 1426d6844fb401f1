"""The partition table of DOS: only whether there may be one."""

from blkmodel.block.partitions.check_h import parsed_partitions, read_part_sector
from blkmodel.services.memory.mm import put_page


def msdos_partition(state: parsed_partitions) -> int:
    """Look for a table in the first sector. Returns 0 for none, -1 for a disk that can't be read.

    A table that is there is not read: the model's disks have no partitions.
    """
    data, page = read_part_sector(state, 0)
    if data is None:
        return -1
    put_page(page)
    return 0
