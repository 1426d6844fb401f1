"""What a kernel's tasks do: they wait and wake each other, lock, sleep, and leave work for later."""

from blkmodel.services.tasks.locks import *
from blkmodel.services.tasks.rcupdate import *
from blkmodel.services.tasks.refcount import *
from blkmodel.services.tasks.sched import *
from blkmodel.services.tasks.sched import __set_current_state
from blkmodel.services.tasks.timer import *
from blkmodel.services.tasks.wait import *
from blkmodel.services.tasks.wait import __add_wait_queue
from blkmodel.services.tasks.workqueue import *
