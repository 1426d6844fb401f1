"""Stacks for tasks that sleep while others run: what a kernel's loop stands on. Only one ever runs.

In CPython a stack is a thread with a lock, its gate, which whoever hands over opens. In the browser it is a WebAssembly
stack that waits for a promise (JavaScript Promise Integration). Where neither is to be had there is one stack: tasks
then sleep on top of each other, and one that is woken beneath another cannot go on.
"""

import _thread
import gc
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Self

STACK_BYTES = 512 << 10
LACKS = ("a task would go on while another sleeps above it: this needs JavaScript Promise Integration "
         "(WebAssembly.Suspending), which this browser has not")


class NoGround(RuntimeError):
    """A task is to go on while another sleeps, and there is no stack for that."""


class Halted(BaseException):
    """Ends a task whose kernel is no more, wherever it sleeps."""


class Thread:
    """A stack that is a thread of its own. `loop` and `event` are what it is to run next; contexts: who runs on it."""

    def __init__(self) -> None:
        self._gate = _thread.allocate_lock()
        self._gate.acquire()
        self._thread: Any = None
        self.loop: Any = None
        self.event: Any = None
        self.contexts: list[Any] = []
        self.halted = False

    @classmethod
    def begun(cls) -> Self:
        """A stack that has begun, and waits."""
        import threading  # which a page has no use for
        stack, before = cls(), threading.stack_size(STACK_BYTES)
        try:
            stack._thread = threading.Thread(target=_live, args=(stack,), daemon=True)
            stack._thread.start()
        finally:
            threading.stack_size(before)
        return stack

    def wait(self) -> None:
        """Stop until somebody opens the gate."""
        self._gate.acquire()

    def go(self) -> None:
        """Open the gate. Who calls this waits, or ends, next."""
        self._gate.release()

    def free(self) -> None:
        """It is needed no more, says who runs on it."""
        self.loop = None

    def retire(self) -> None:
        """End a stack that waits and is needed no more."""
        self.loop = None
        self.go()
        self.join()

    def join(self) -> None:
        """Return once the stack is no more."""
        self._thread.join()


class AtOnce:
    """What a future asks of an event loop: here, who waits for it hears at once that it is done. The page's own loop
    would say so in five tasks of the browser, which take longer than all else that a switch is."""

    @staticmethod
    def get_debug() -> bool:
        """Nobody asks where a future was made."""
        return False

    @staticmethod
    def call_soon(callback: Callable[..., Any], *arguments: Any, context: Any = None) -> None:
        """Tell it now."""
        callback(*arguments)


class Promise(Thread):
    """A stack in the browser; `spawn` is the page's, and begins one. Of the future that it waits for Pyodide makes a
    promise.

    A stack that waits is not in memory, where the interpreter's search for garbage would look at it: there is none
    while there are any.
    """

    begun_ones: ClassVar[set[Any]] = set()

    def __init__(self) -> None:
        super().__init__()
        self._open = _future()

    @classmethod
    def begun(cls) -> Self:
        gc.disable()
        stack = cls()
        cls.begun_ones.add(stack)
        stack._thread = import_module("js").spawn(_live, stack)
        return stack

    def wait(self) -> None:
        import_module("pyodide.ffi").run_sync(self._open)
        self._open = _future()

    def go(self) -> None:
        self._open.set_result(None)

    def join(self) -> None:
        import_module("pyodide.ffi").run_sync(self._thread)
        self.begun_ones.remove(self)
        if not self.begun_ones:
            gc.enable()


def _future() -> Any:
    return import_module("asyncio").Future(loop=AtOnce)


class Nested(Thread):
    """The only stack there is."""

    @classmethod
    def begun(cls) -> Self:
        raise NoGround(LACKS)


def _live(stack: Any) -> None:
    """What a stack does all its life: it waits, and runs what it was given, until it is needed no more."""
    stack.wait()
    while stack.loop is not None:
        stack.loop.serve(stack)
        if stack.loop is not None:
            stack.wait()


def best() -> type:
    """The ground of this interpreter."""
    if sys.platform != "emscripten":
        return Thread
    return Promise if getattr(import_module("js"), "canSwitch", False) else Nested
