"""The exceptions of the package's face."""

from collections.abc import Iterable

from blkmodel.services import NAMES


class KernelError(OSError):
    """The kernel said no. `errno` is positive, `name` its name (`"ENOMEM"`), `log` the lines it printed meanwhile."""

    def __init__(self, errno: int, what: str, log: Iterable[str] = ()) -> None:
        self.name = NAMES.get(abs(errno), str(abs(errno)))
        self.log = tuple(log)
        super().__init__(abs(errno), f"{what}: {self.name}" + "".join(f"\n  {line}" for line in self.log))


class NotModelled(NotImplementedError):
    """Something that a kernel does and the model does not; `what` says what."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not modelled")
