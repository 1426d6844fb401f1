"""What the services call and the mirror defines, joined as a linker joins the object files of a kernel.

The services import nothing of the mirror. A module of the mirror whose function they need provides it, below its
definitions; `import blkmodel` brings all of them.
"""

from typing import Any


class Linked:
    """The symbols by name: `linked.bd_forget(inode)`."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"nothing provides {name}(): import blkmodel, which links the kernel")


linked: Any = Linked()


def provide(**symbols: Any) -> None:
    """Let the services find what is named."""
    vars(linked).update(symbols)
