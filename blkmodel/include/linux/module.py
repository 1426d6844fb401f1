"""Modules: what is loaded while the kernel runs, and who holds it."""

THIS_MODULE = None


def try_module_get(owner):
    """Hold a module, so that it stays; what is built in (None) always stays."""
    return True


def module_put(owner):
    """Let a module go."""


def request_module(name):
    """Ask user space to load a module. The model has none besides those it is told to load."""
    return -1
