"""The recorder: what the model did, as plain events, and the call trees they make."""

from blkmodel.trace.events import (Alloc, Assign, Call, Command, Completion, ContextRecord, Doorbell, Enter, Free,
    Interrupt, Item, Leave, Log, RegisterRead, RegisterWrite, Return)
from blkmodel.trace.recorder import Node, Recording, RecordingError, record

__all__ = ["Alloc", "Assign", "Call", "Command", "Completion", "ContextRecord", "Doorbell", "Enter", "Free",
           "Interrupt", "Item", "Leave", "Log", "Node", "Recording", "RecordingError", "RegisterRead", "RegisterWrite",
           "Return", "record"]
