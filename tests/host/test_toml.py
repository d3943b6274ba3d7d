"""TOML files and values: what is read, and what is refused in one line before anything works on it."""

import os

import pytest

from aljax import UserError
from aljax.host import toml

DEEP = 2_000


def refused(text):
    with pytest.raises(UserError) as caught:
        toml.parse(text, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ") and len(message) < 300 and message.isprintable()
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "not valid TOML"),
        ("a = " + "[" * DEEP + "]" * DEEP, "nested too deeply"),
        ("a = " + "{b=" * DEEP + "1" + "}" * DEEP, "nested too deeply"),
        ("a = " + "[" * 30 + "]" * 30, "nested deeper than 16 tables or lists"),
        (".".join(["a"] * 50_000) + " = 1", "a dotted key of more than 16 parts"),  # quadratic in tomllib: minutes
        ("[" + ' . "a b"' * 17 + "]", "a dotted key"),
        ("[a]\nb = " + "9" * 310, "a.b: a whole number must lie within ±2^63, got a whole number of about 3"),
        ("a = " + "9" * 5_000, "one of thousands of digits"),
        ("a = 0x" + "f" * 100_000, "a: a whole number must lie within ±2^63, got a whole number of about 120,4"),
        ("a = [1, 1979-05-27]", "a.1: expected a number, text, true or false, a list or a table, got the time"),
        ("a = 07:32:00", "got the time '07:32:00'"),
        ("x" * 10**6 + " = 1979-05-27", "got the time"),
        ("'" + "\\u0000x" * 10**5 + "'", "not valid TOML"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_nothing_takes_is_refused_in_one_short_line(text, message):
    assert message in refused(text)


def test_what_is_left_is_read_as_it_stands():
    raw = toml.parse('a.b = [1, 2.5, true, "x"]\nc = -9223372036854775808\nd = inf\ne = { f = "1.2.3" }', "mine.toml")
    assert raw == {"a": {"b": [1, 2.5, True, "x"]}, "c": -(2**63), "d": float("inf"), "e": {"f": "1.2.3"}}


def test_dots_in_a_text_are_no_deep_key():
    sentence = "One call. Another. " * 3 + "1, 2, 3 ... and so on, as in a.b.c, to 192.168.0.1; see §§ 1.2.3.4.5.6.7.8"
    assert toml.parse(f'a = "{sentence}"', "mine.toml") == {"a": sentence}


@pytest.mark.parametrize("text", ["1\nb = 2", "1\r\n[c]", "", "lots", "2 3", "1979-05-27", "[" * DEEP, "9" * 5_000])
def test_a_value_is_one_value(text):
    with pytest.raises(UserError, match=r"^--set a: ") as caught:
        toml.parse_value(text, "--set a")
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [1, -2.5, 1e300, True, "", 'a "b"\\ \n\t\x7f \x01 naïve 😀', [1, [2.0, "x"]], {"a b": {"c": [1]}}, float("inf")],
)  # fmt: skip
def test_a_value_written_is_the_value_read(value):
    written = toml.dump(value)
    assert toml.parse_value(written, "here") == value and "\n" not in written


def test_a_mark_at_the_start_and_windows_line_ends_make_no_difference(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes("\ufeffa = 1\r\nb = '''x\r\ny'''\r\n".encode())
    assert toml.read(path) == "a = 1\nb = '''x\ny'''\n"


def test_a_file_too_large_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "mine.toml"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(UserError, match=r"mine.toml: larger than 4 MiB"):
        toml.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, os.devnull):
        with pytest.raises(UserError, match="expected a regular file with TOML"):
            toml.read(path)


@pytest.mark.parametrize("path", ["missing", "nu\0l", "a" * 5_000, "\ud800"])
def test_a_path_that_cannot_be_is_told_in_one_line(path):
    with pytest.raises(UserError, match="cannot be read") as caught:
        toml.read(path)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()
