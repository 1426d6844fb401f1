"""The NVMe controller: what it is made of, and what can be wrong with it."""

from blkmodel.device.controller import REGISTERS, Controller
from blkmodel.device.engine import LATER
from blkmodel.device.faults import ENABLE, FAIL, FATAL, GONE, SILENT, STUCK, Fault, faults_of
from blkmodel.device.names import ADMIN, IO
from blkmodel.device.namespace import Namespace
from blkmodel.device.nvme import plug_in, unplug
from blkmodel.device.service import Service
