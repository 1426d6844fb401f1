"""I/O that a test has under way: nobody waits for it."""

from blkmodel.block import bio as block_bio, blk_core
from blkmodel.include.linux.blk_types import REQ_OP_READ, REQ_OP_WRITE
from blkmodel.scenario import disk
from blkmodel.services.memory.mm import __free_page as free_page, alloc_page
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE


class IO:
    """One bio to sectors of a disk. ends: how often it ended; status: how; cookie: what to poll for it with.

    before(): called before it is submitted. `sectors`: how many a bio without memory is for.
    """

    def __init__(self, name, op, sector, length=0, data=None, cpu=0, before=None, sectors=0):
        self.length = len(data) if data is not None else length
        self.ends, self.status = 0, None
        pages = -(-self.length // PAGE_SIZE)
        self.bio = block_bio.bio_alloc_bioset(GFP_KERNEL, pages, None)
        self.bio.bi_disk = disk(name)
        self.bio.bi_iter.bi_sector = sector
        self.bio.bi_opf = op
        self.bio.bi_end_io = self.end
        self.pages = [alloc_page(GFP_KERNEL) for _ in range(pages)]
        for n, page in enumerate(self.pages):
            size = min(PAGE_SIZE, self.length - n * PAGE_SIZE)
            if data is not None:
                page.write(0, data[n * PAGE_SIZE:n * PAGE_SIZE + size])
            assert block_bio.bio_add_page(self.bio, page, size, 0) == size
        if sectors:
            self.bio.bi_iter.bi_size = sectors * 512
        if before is not None:
            before()
        if cpu is None:  # the caller is a process
            self.cookie = blk_core.submit_bio(self.bio)
        else:
            self.cookie = this().task("io", blk_core.submit_bio, self.bio, cpu=cpu)

    def end(self, bio):
        self.ends += 1
        self.status = bio.bi_status

    @property
    def data(self):
        return b"".join(page.read(0, PAGE_SIZE) for page in self.pages)[:self.length]

    def free(self):
        """Give its memory back; it must have ended."""
        assert self.ends == 1
        for page in self.pages:
            free_page(page)
        block_bio.bio_put(self.bio)


def read(name, sector, length, **more):
    return IO(name, REQ_OP_READ, sector, length, **more)


def write(name, sector, data, **more):
    return IO(name, REQ_OP_WRITE, sector, data=data, **more)


def a_bio(op, sector, sectors, end=None):
    """A bio without memory, for so many sectors, that nobody has yet."""
    bio = block_bio.bio_alloc_bioset(GFP_KERNEL, 0, None)
    bio.bi_opf, bio.bi_end_io = op, end
    bio.bi_iter.bi_sector, bio.bi_iter.bi_size = sector, sectors * 512
    return bio
