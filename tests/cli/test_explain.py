"""`blkmodel explain`: what it says of a text, and that no text can harm it."""

from __future__ import annotations

import pytest

from blkmodel.cli.main import main
from blkmodel.view.facts.explained import MOST


@pytest.fixture
def explain(tmp_path, capsys):
    """Explain these bytes; return the exit status, what was printed, and what was complained of."""
    def explain(content):
        file = tmp_path / "log"
        file.write_bytes(content)
        status = main(["explain", str(file)])
        return (status, *capsys.readouterr())
    return explain


def test_a_log_and_a_stack(explain):
    status, out, err = explain(b"nvme nvme0: I/O 3 QID 2 timeout, aborting\nnvme nvme0: I/O 4 QID 2 timeout, aborting\n"
                               b" blk_mq_get_tag+0x1/0x2\n io_schedule+0x1/0x2\nhello\n")
    assert (status, err) == (0, "")
    assert out.startswith("line 1 (2 times): nvme nvme0: I/O 3 QID 2 timeout, aborting\n    A command has not been")
    assert "made in nvme_timeout, drivers/nvme/host/pci.c:1271; see book/symptoms.html#aborting; try book/" in out
    assert "line 3: blk_mq_get_tag: block/blk-mq-tag.c:110, model blkmodel/block/blk_mq_tag.py, book/getting" in out
    assert out.endswith("not known: io_schedule\n1 of 5 lines say nothing that the book knows\n")


def test_a_line_that_another_driver_logs_in_the_same_words(explain):
    nvme = b"[    1.2] nvme nvme0: 8/0/0 default/read/poll queues"
    assert "made in nvme_setup_io_queues" in explain(nvme)[1]
    for other in (b"[    0.4] virtio_blk virtio1: 1/0/0 default/read/poll queues",
                  b"nvme nvme1: mapped 4/0/0 default/read/poll queues."):
        assert explain(other)[1] == "1 of 1 lines say nothing that the book knows\n"


def test_nothing_known(explain):
    assert explain(b"")[:2] == (0, "1 of 1 lines say nothing that the book knows\n")
    assert explain(b"all is well\r\nreally\r")[:2] == (0, "2 of 2 lines say nothing that the book knows\n")


@pytest.mark.parametrize(("content", "why"), [
    (b"ok \xff\xfe", "byte 3: expected UTF-8 text"), (b"\xed\xa0\x80", "byte 0: expected UTF-8 text"),
    (b"a" * (MOST + 1), f"expected a text of at most {MOST} characters, found {MOST + 1}"),
    (b"a" * (17 << 20), "expected a file of at most 16777216 bytes")])
def test_what_is_no_text_is_refused(explain, content, why):
    status, out, err = explain(content)
    assert (status, out) == (2, "")
    assert err.startswith("blkmodel explain: ")
    assert err.endswith(f"{why}\n")


def test_what_is_no_file_is_refused(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "nosuch", "/dev/zero"):
        assert main(["explain", str(path)]) == 2
        assert "expected a file that can be read" in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(explain):
    _, out, _ = explain("\x1b[2J\x9b0m\u202e I/O 1 QID 1 timeout, aborting \x07\n".encode())
    assert not set(out) - {"\n"} & set(map(chr, [*range(32), *range(127, 160), 0x202E]))
    assert "\\x1b[2J\\x9b0m\\u202e I/O 1 QID 1" in out


def test_many_lines_and_names_say_little(explain):
    lines = b"".join(b"f%d_x(); I/O 1 QID 1 timeout, aborting\n" % n for n in range(4000))
    status, out, _ = explain(lines)
    assert status == 0
    assert "line 1 (4000 times)" in out
    assert len(out) < 2000
