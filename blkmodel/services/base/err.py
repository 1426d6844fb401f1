"""Error numbers, as Linux has them on x86 (Python's own differ inside a browser), and errors in place of pointers
(include/linux/err.h)."""

from typing import Any

from blkmodel.services.base.bug import KernelBug

EPERM, ENOENT, EINTR, EIO, ENXIO, EBADF, EAGAIN, ENOMEM, EACCES = 1, 2, 4, 5, 6, 9, 11, 12, 13
EFAULT, EBUSY, EEXIST, EISDIR, ESPIPE = 14, 16, 17, 21, 29
ENODEV, EINVAL, ENOTTY, ENOSPC, ERANGE, ENODATA, ENOLINK, EOVERFLOW, EILSEQ = 19, 22, 25, 28, 34, 61, 67, 75, 84
EREMOTEIO, EOPNOTSUPP, ENOTBLK, EBADE, EREMCHG, ENETRESET, ENOTCONN, ETIMEDOUT = 121, 95, 15, 52, 78, 102, 107, 110
ENOMEDIUM, ERESTARTSYS, ENOIOCTLCMD, EIOCBQUEUED = 123, 512, 515, 529

NAMES = {number: name for name, number in list(globals().items()) if name.isupper() and name.startswith("E")}


class ErrPtr:
    """What a function returns instead of a pointer when it failed; `errno` is negative, as in C.

    Who takes it for a pointer stops the kernel.
    """

    __slots__ = ("errno",)

    def __init__(self, errno: int) -> None:
        object.__setattr__(self, "errno", errno)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise KernelBug(f"{self!r} is taken for a pointer: ->{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        getattr(self, name)

    def __repr__(self) -> str:
        return f"ERR_PTR(-{NAMES.get(-self.errno, -self.errno)})"


def ERR_PTR(errno: int) -> Any:
    return ErrPtr(errno)


def IS_ERR(pointer: Any) -> bool:
    return isinstance(pointer, ErrPtr)


def IS_ERR_OR_NULL(pointer: Any) -> bool:
    return pointer is None or isinstance(pointer, ErrPtr)


def PTR_ERR(pointer: Any) -> int:
    return pointer.errno
