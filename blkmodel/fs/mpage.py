"""Reading many cached pages at once: bios as large as their blocks allow.

Only what reads the pages of a block device: its blocks have no holes, and nobody has put buffers on the pages yet.
"""

from collections.abc import Callable
from dataclasses import field

from blkmodel.block import bio as bio_module, blk_core
from blkmodel.fs import block_dev, buffer
from blkmodel.include.linux.bio import (BIO_MAX_PAGES, REQ_OP_READ, REQ_RAHEAD, bio, bio_for_each_segment_all, bio_op,
    bio_set_dev)
from blkmodel.include.linux.fs import block_device
from blkmodel.services import GFP_KERNEL, add_to_page_cache, address_space, i_size_read, page, page_endio, put_page
from blkmodel.sim import NULL, PAGE_SIZE, Struct


class mpage_readpage_args(Struct, size=168):
    """How far somebody is who reads pages: `bio` has those before `page`, up to last_block_in_bio; nr_pages are left.
    map_bh says where the blocks from first_logical_block on are."""

    bio: bio = NULL
    page: page = NULL
    nr_pages: int = 0
    last_block_in_bio: int = 0
    map_bh: buffer.buffer_head = field(default_factory=buffer.buffer_head)
    first_logical_block: int = 0
    get_block: Callable[..., int] = NULL


def mpage_end_io(bio: bio) -> None:
    """The pages of a bio were read, or not."""
    for bv in bio_for_each_segment_all(bio):
        page_endio(bv.bv_page, bio_op(bio) != REQ_OP_READ, blk_core.blk_status_to_errno(bio.bi_status))
    bio_module.bio_put(bio)


def mpage_bio_submit(op: int, op_flags: int, bio: bio) -> bio:
    """Send a bio off. Returns None: there is none now."""
    bio.bi_end_io, bio.bi_opf = mpage_end_io, op | op_flags
    buffer.guard_bio_eod(bio)
    blk_core.submit_bio(bio)
    return NULL


def mpage_alloc(bdev: block_device, first_sector: int, nr_vecs: int, gfp_flags: int) -> bio:
    """Allocate a bio for so many pages, from the file systems' bio_set, which always has one."""
    bio = bio_module.bio_alloc_bioset(gfp_flags, nr_vecs, bio_module.variables().fs_bio_set)
    bio_set_dev(bio, bdev)
    bio.bi_iter.bi_sector = first_sector
    return bio


def do_mpage_readpage(args: mpage_readpage_args) -> bio:
    """Add a page to the bio, or to a new one where it does not follow. What it has beyond the end is zeroed.

    Returns the bio that is still to be sent, or None.
    """
    inode, map_bh = args.page.mapping.host, args.map_bh
    blkbits = inode.i_blkbits
    blocks_per_page = PAGE_SIZE >> blkbits
    block_in_file = args.page.index * blocks_per_page
    last_block = min(block_in_file + args.nr_pages * blocks_per_page,
                     (i_size_read(inode) + (1 << blkbits) - 1) >> blkbits)
    blocks: list[int] = []
    while len(blocks) < blocks_per_page and block_in_file < last_block:
        known = args.first_logical_block + (map_bh.b_size >> blkbits)
        if not (map_bh.mapped and args.first_logical_block < block_in_file < known):
            map_bh.mapped, map_bh.b_size = False, (last_block - block_in_file) << blkbits
            args.get_block(inode, block_in_file, map_bh, 0)
            args.first_logical_block = block_in_file
        blocks.append(map_bh.b_blocknr + block_in_file - args.first_logical_block)
        block_in_file += 1
    length = len(blocks) << blkbits
    whole = length == PAGE_SIZE
    if not whole:
        args.page.write(length, bytes(PAGE_SIZE - length))
    if args.bio is not None and args.last_block_in_bio != blocks[0] - 1:
        args.bio = mpage_bio_submit(REQ_OP_READ, REQ_RAHEAD, args.bio)
    while True:
        if args.bio is None:
            if whole and not block_dev.bdev_read_page(map_bh.b_bdev, blocks[0] << (blkbits - 9), args.page):
                return NULL
            args.bio = mpage_alloc(map_bh.b_bdev, blocks[0] << (blkbits - 9), min(args.nr_pages, BIO_MAX_PAGES),
                                   GFP_KERNEL)
        if bio_module.bio_add_page(args.bio, args.page, length, 0) >= length:
            break
        args.bio = mpage_bio_submit(REQ_OP_READ, REQ_RAHEAD, args.bio)
    if whole:
        args.last_block_in_bio = blocks[-1]
    else:
        args.bio = mpage_bio_submit(REQ_OP_READ, REQ_RAHEAD, args.bio)
    return args.bio


def mpage_readpages(mapping: address_space, pages: list[page], nr_pages: int, get_block: Callable[..., int]) -> int:
    """Begin to read new pages, which have their index and are in its order, into a mapping. Returns 0."""
    args = mpage_readpage_args(get_block=get_block)
    for i, each in enumerate(pages):
        if not add_to_page_cache(each, mapping, each.index):
            args.page, args.nr_pages = each, nr_pages - i
            args.bio = do_mpage_readpage(args)
        put_page(each)
    if args.bio is not None:
        mpage_bio_submit(REQ_OP_READ, REQ_RAHEAD, args.bio)
    return 0
