"""What the rest of a kernel gives the block layer; it need not be read to understand that.

Other rooms import it from here, as in C some header brings it. A name is defined in one file, of its kind:
`grep -rn "def NAME(" blkmodel/services` finds it. Who is inside imports that file.
"""

from blkmodel.services.base import *
from blkmodel.services.cpus.cpuhotplug import *
from blkmodel.services.cpus.cpumask import *
from blkmodel.services.cpus.interrupt import *
from blkmodel.services.cpus.interrupt import __irq_alloc_descs
from blkmodel.services.cpus.isolation import *
from blkmodel.services.data.bitops import *
from blkmodel.services.data.crc32 import *
from blkmodel.services.data.idr import *
from blkmodel.services.data.list import *
from blkmodel.services.data.rbtree import *
from blkmodel.services.devices.backing_dev import *
from blkmodel.services.devices.badblocks import *
from blkmodel.services.devices.cdev import *
from blkmodel.services.devices.configfs import *
from blkmodel.services.devices.device import *
from blkmodel.services.devices.hdreg import *
from blkmodel.services.devices.io import *
from blkmodel.services.devices.kobj_map import *
from blkmodel.services.devices.kobject import *
from blkmodel.services.devices.msi import *
from blkmodel.services.devices.pci import *
from blkmodel.services.devices.scsi_dh import *
from blkmodel.services.files.file import *
from blkmodel.services.files.inode import *
from blkmodel.services.files.mount import *
from blkmodel.services.files.pagemap import *
from blkmodel.services.files.pagemap import __generic_file_write_iter
from blkmodel.services.files.proc import *
from blkmodel.services.files.readahead import *
from blkmodel.services.files.uio import *
from blkmodel.services.memory.dma_mapping import *
from blkmodel.services.memory.mempool import *
from blkmodel.services.memory.mm import *
from blkmodel.services.memory.mm import __free_page, __free_pages
from blkmodel.services.memory.percpu import *
from blkmodel.services.memory.percpu import __alloc_percpu
from blkmodel.services.memory.scatterlist import *
from blkmodel.services.memory.slab import *
from blkmodel.services.memory.slab import __GFP_DIRECT_RECLAIM, __GFP_NORETRY, __GFP_NOWARN, __GFP_ZERO
from blkmodel.services.tasks import *
from blkmodel.services.tasks import __add_wait_queue, __set_current_state
