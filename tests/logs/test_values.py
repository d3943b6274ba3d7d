"""Values as tracers write them."""

import pytest

from aljax.logs.values import amount, error_class, hexadecimal, iso, moment, rows, table, text

NOW = 1_767_225_601_250_000_000


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        ("2026-01-01T00:00:01.250Z", NOW), ("2026-01-01T01:00:01.250000+01:00", NOW), ("2026-01-01 00:00:01.250000",
        NOW),
        ("2026-01-01T00:00:01.250000123Z", NOW), (NOW, NOW), (str(NOW), NOW), (NOW // 1_000, NOW), (NOW // 10**6, NOW),
        (NOW / 1e9, NOW), ([NOW // 10**9, 250_000_000], NOW), (0, None), (-1, None), (True, None), (10**30, None),
        ("9999-12-31T23:59:59Z", None), ("soon", None), ("", None), (None, None), ([1], None), (["a", 1], None), ({},
        None),
        (float("nan"), None), ("1" * 400, None), ("٣", None),
    ],
)  # fmt: skip
def test_a_moment_is_told_by_its_size_or_in_words(value, nanoseconds):
    assert moment(value) == nanoseconds


def test_a_moment_is_written_as_it_is_read():
    assert iso(NOW) == "2026-01-01T00:00:01.250000+00:00" and moment(iso(NOW)) == NOW


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (0.5, 0.5), ("0.25", 0.25), (0, 0), (-1, None), (True, None), ("x", None), ("nan", None), (1e300, None),
     (None, None), ([], None), ("1" * 100, None)],
)  # fmt: skip
def test_an_amount_may_be_text_and_is_not_below_0(value, number):
    assert amount(value) == number


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("ValueError: no such row", "ValueError"), ("RuntimeError('x')Traceback (most", "RuntimeError"),
        ("a.b.Timeout", "Timeout"), ("update backend unavailable", "error"), ("", "error"), (None, "error"), (3,
        "error"),
        ("Error running tool (non-fatal)", "error"), ("timeout", "timeout"),
    ],
)  # fmt: skip
def test_the_class_of_an_error_is_what_its_message_begins_with(message, name):
    assert error_class(message) == name


def test_ids_and_names_are_text_whatever_they_were():
    assert hexadecimal("0x" + "a" * 16) == "a" * 16 == hexadecimal("a" * 16) and hexadecimal("qqqqqqqqqqo=") == "aa" * 8
    assert hexadecimal("x=") == "x=" and hexadecimal(None) is None and hexadecimal("") is None and hexadecimal(7) == "7"
    assert text(2.0**100) == str(2**100) and text(True) is None and text("a" * 900) == "a" * 500 and text([]) is None


def test_tables_and_rows_may_be_in_texts_and_are_empty_where_there_are_none():
    assert table('{"a": 1}') == {"a": 1} == table({"a": 1}) and table("[1]") == table("{") == table(None) == {}
    assert rows([{"a": 1}, 2, None]) == [{"a": 1}] and rows("x") == rows(None) == []
