"""What every part of a kernel uses: error numbers, the log, bugs, modules and their parameters, numbers and texts."""

from blkmodel.services.base.arithmetic import *
from blkmodel.services.base.bug import BUG_ON, DO_ONCE, WARN_ON, WARN_ON_ONCE, WARN_ONCE, KernelBug, done_once
from blkmodel.services.base.crash_dump import is_kdump_kernel
from blkmodel.services.base.err import *
from blkmodel.services.base.fault_inject import debugfs, fault_attr, nvme_fault_inject, setup_fault_attr, should_fail
from blkmodel.services.base.kdev_t import *
from blkmodel.services.base.module import (THIS_MODULE, fs_initcall, kernel_param, module, module_init, module_put,
    param_set_bool, param_set_byte, param_set_copystring, param_set_int, param_set_uint, param_set_ulong, parse_args,
    request_module, subsys_initcall, try_module_get)
from blkmodel.services.base.printk import *
from blkmodel.services.base.random import prandom_u32
from blkmodel.services.base.symbols import linked, provide
from blkmodel.services.base.text import *
