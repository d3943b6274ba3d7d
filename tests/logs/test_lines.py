"""Rows of files as they come: from a disk or through a pipe, in bounded memory."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from aljax import UserError
from aljax.logs import lines
from aljax.logs.lines import Lines

ROWS = [{"n": n, "text": "ä"} for n in range(3)]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def read(path):
    return list(Lines(path))


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT.rstrip(b"\n"),
        b"\xef\xbb\xbf" + TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        gzip.compress(TEXT),
        gzip.compress(b"\xef\xbb\xbf" + TEXT),
        gzip.compress(TEXT[:40]) + gzip.compress(TEXT[40:]),
    ],
    ids=["plain", "no last line end", "BOM", "CRLF", "gzip", "gzip with BOM", "two gzip members"],
)
def test_whatever_wrote_them_rows_are_rows_and_the_hash_is_the_files(data, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(data)
    found = Lines(path)
    assert list(found) == list(enumerate(ROWS, 1))
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_blank_lines_count_and_are_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"\n" + TEXT.replace(b"\n", b"\n \n") + b"\n\n")
    assert read(path) == [(2, ROWS[0]), (4, ROWS[1]), (6, ROWS[2])]


@pytest.mark.parametrize("data", [TEXT, gzip.compress(TEXT)], ids=["plain", "gzip"])
def test_pipes_are_read_and_hashed_as_they_run(data, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write():
        with path.open("wb", buffering=0) as pipe:  # byte by byte: nothing can be looked at beforehand
            for n in range(len(data)):
                pipe.write(data[n : n + 1])

    writer = threading.Thread(target=write)
    writer.start()
    found = Lines(path)
    assert list(found) == list(enumerate(ROWS, 1)) and found.sha256 == hashlib.sha256(data).hexdigest()
    writer.join()


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 1_000)
    for name, data in {"long": b'{"a": "' + b"x" * 2_000, "bomb": gzip.compress(b"{" + b" " * 10**6)}.items():
        path = tmp_path / name
        path.write_bytes(TEXT + data if name == "long" else data)
        with pytest.raises(UserError, match=rf"{name}, row \d: longer than"):
            read(path)
    with pytest.raises(UserError, match="/dev/zero, row 1: longer than"):
        read("/dev/zero")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1]", "row 1: expected a JSON object, got [1]"),
        (b"[" * 500 + b"]" * 500, "row 1: expected a JSON object, got [[[["),
        (b"[" * 5_000 + b"]" * 5_000, "row 1: not JSON: "),
        (b'{"a": ' + b"1" * 5_000 + b"}", "row 1: not JSON: number is infinity"),
        (b'{"a": NaN}', "row 1: not JSON: "),
        (b'{"a": "\\ud800"}', "row 1: not JSON: "),
        (b"\xff\xfe{\x00}\x00", "row 1: not JSON: "),
        (b'"' + b"x" * 10**6 + b'"', "row 1: expected a JSON object, got 'xxx"),
        (gzip.compress(TEXT)[:-9], "after row 0: damaged or truncated gzip"),
        (b"\x1f\x8b" + TEXT, "after row 0: damaged or truncated gzip"),
    ],
    ids=range(10),
)
def test_what_is_no_row_is_refused_in_one_short_line(data, message, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(UserError) as refusal:
        read(path)
    text = str(refusal.value)
    assert message in text and "\n" not in text and len(text) < len(str(path)) + 200


@pytest.mark.parametrize("path", ["a\0b", "x" * 5_000, "a\ud800", "."], ids=["NUL", "long", "surrogate", "folder"])
def test_paths_that_cannot_be_are_refused(path):
    with pytest.raises(UserError, match="cannot be read") as refusal:
        read(path)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 500


def test_a_long_file_is_read_in_little_memory(tmp_path):
    """A row at a time: a file of 40 MB, gzipped to a hundredth, in a process that may have little more than Python."""
    path = tmp_path / "log.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(b'{"text": "' + b"x" * (2**20 - 20) + b'"}\n')
    program = (
        "import resource, sys; from aljax.logs.lines import Lines\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for _ in Lines(sys.argv[1])) == 40\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 20_000  # KiB
