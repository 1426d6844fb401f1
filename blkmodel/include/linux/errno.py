"""Error numbers, as Linux has them on x86 (Python's own differ inside a browser)."""

EPERM, ENOENT, EINTR, EIO, ENXIO = 1, 2, 4, 5, 6
EBADF, EAGAIN, ENOMEM, EACCES, EFAULT = 9, 11, 12, 13, 14
EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR = 16, 17, 18, 19, 20
EISDIR, EINVAL, ENOTTY, EFBIG, ENOSPC = 21, 22, 25, 27, 28
EROFS, ERANGE, EDEADLK, ENODATA, ETIME, ENOLINK = 30, 34, 35, 61, 62, 67
EPROTO, EBADMSG, EOVERFLOW, EILSEQ, EREMOTEIO, EOPNOTSUPP = 71, 74, 75, 84, 121, 95
ETIMEDOUT, ENOMEDIUM, ERESTARTSYS, EIOCBQUEUED, EPROBE_DEFER = 110, 123, 512, 529, 517

NAMES = {number: name for name, number in list(globals().items()) if name.isupper() and name.startswith("E")}
