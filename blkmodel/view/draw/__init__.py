"""How things look: shapes, tables and keys; trees of calls, strips, and the ways of failures."""

from blkmodel.view.draw.call_tree import SOURCE, kernel_url, model_url, source_links, two_links, who
from blkmodel.view.draw.figure import curve, group, keys, legend, panel, plain, rect, row, stretched, table, text
from blkmodel.view.draw.strips import COLOURS, key, log, strip
from blkmodel.view.draw.styles import SHEETS, style
from blkmodel.view.draw.unwinding import frames, kernel_log
