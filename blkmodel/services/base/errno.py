"""Error numbers, as Linux has them on x86 (Python's own differ inside a browser)."""

EPERM, ENOENT, EINTR, EIO, ENXIO = 1, 2, 4, 5, 6
EBADF, EAGAIN, ENOMEM, EFAULT = 9, 11, 12, 14
EBUSY, EEXIST, ENODEV, EINVAL, ENOTTY, ENOSPC = 16, 17, 19, 22, 25, 28
ERANGE, ENODATA, ENOLINK = 34, 61, 67
EOVERFLOW, EILSEQ, EREMOTEIO, EOPNOTSUPP = 75, 84, 121, 95
ENOTBLK, EBADE, EREMCHG, ENETRESET = 15, 52, 78, 102
ENOTCONN, ETIMEDOUT, ENOMEDIUM, ERESTARTSYS, EIOCBQUEUED = 107, 110, 123, 512, 529

NAMES = {number: name for name, number in list(globals().items()) if name.isupper() and name.startswith("E")}
