"""The recorder: what the model did, as plain events, the call trees they make, and a walk through them."""

from blkmodel.trace.events import (Alloc, Assign, Call, Command, Completion, ContextRecord, Doorbell, Enter, Free,
    Interrupt, Item, Leave, Log, RegisterRead, RegisterWrite, Return)
from blkmodel.trace.recorder import Node, Recording, RecordingError, record, under_way, watch
from blkmodel.trace.walk import walk

__all__ = ["Alloc", "Assign", "Call", "Command", "Completion", "ContextRecord", "Doorbell", "Enter", "Free",
           "Interrupt", "Item", "Leave", "Log", "Node", "Recording", "RecordingError", "RegisterRead",
           "RegisterWrite", "Return", "record", "under_way", "walk", "watch"]
