"""What messages repeat of the user's own input, and what becomes of paths that cannot be."""

import datetime
import os
from pathlib import Path

import pytest

from aljax import UserError
from aljax.errors import listed, one_line, path_errors, plain, short


def nested(kind, depth=100_000):
    value = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7, b"\0" * 10**6, 10**5000, -(10**400), [1] * 10**6, {str(i): i for i in range(10**4)},
        nested(list), nested(dict), {"a": 10**5000}, "a\nb\r\t\0\x1b[31m\ud800\u2028", datetime.date(1979, 5, 27),
    ],
    ids=range(11),
)  # fmt: skip
def test_any_value_is_quoted_in_one_short_line(value):
    for shown in (short(value), plain(short(value))):
        assert len(shown) <= 60 and shown.isprintable()


@pytest.mark.parametrize(("value", "shown"), [("much", "'much'"), (7, "7"), (0.1, "0.1"), ([1, 2], "[1, 2]")])
def test_what_is_short_is_quoted_as_python_writes_it(value, shown):
    assert short(value) == shown


def test_a_name_is_said_without_quotation_marks_and_cut_in_its_middle():
    assert plain("naïve-😀") == "naïve-😀"
    assert plain("a\nb\x1b") == r"a\nb\x1b"
    assert plain("begin" + "-" * 1000 + "end").startswith("begin-") and plain("-" * 1000 + "end").endswith("-end")
    assert len(plain("\u202e" * 1000)) <= 60


def test_of_many_names_the_first_are_listed_and_the_rest_counted():
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(10**4)), 12) == "0, 1, 2, 3 and 9,996 more"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "No such file"), ("a" * 5000, "File name too long"), ("nu\0l", "null byte"),
        ("\ud800", "surrogates not allowed"), (".", "Is a directory"), ("bytes", "not UTF-8 text (byte 1)"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_with_a_path_is_told_in_one_line(path, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes").write_bytes(b"a\xff")
    with pytest.raises(UserError) as refused, path_errors(path):
        Path(path).read_text(encoding="utf-8")
    assert reason in str(refused.value) and len(str(refused.value)) < 500 and str(refused.value).isprintable()


def test_a_refusal_inside_passes_unchanged():
    with pytest.raises(UserError, match=r"^as it was$"), path_errors(os.devnull):
        raise UserError("as it was")


def test_lines_are_folded_into_one():
    assert one_line("a\n  b\tc\n") == "a b c"
