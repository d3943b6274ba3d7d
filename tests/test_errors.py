"""Messages stay one short line, whatever they are about."""

from aljax.errors import one_line, short


def test_values_are_shown_cut_and_those_that_cannot_be_shown_are_named():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert short("ab") == "'ab'" and short(1.5) == "1.5"
    assert short("x" * 1_000_000) == "'" + "x" * 36 + "..."
    assert short("x" * 50, 20) == "'" + "x" * 16 + "..."
    assert short(deep) == "list too large to show" and short(10**5_000) == "int too large to show"
    while deep:  # else freeing it recurses
        deep = deep.pop()


def test_lines_are_folded_into_one():
    assert one_line("a\n  b\tc\n") == "a b c"
