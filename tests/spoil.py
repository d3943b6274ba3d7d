"""Good texts spoiled where it hurts: numbers, names and lines exchanged for what files should not hold."""

import re

from hypothesis import strategies as st

_TOKENS = re.compile(r'"""|"[^"\n]*"|[A-Za-z_][A-Za-z0-9_-]*|[-+]?\d[\d.e+-]*|[][{},.=#]')
_VALUES = [
    "0", "-0.0", "1", "-1", "2", "1e9", "1.1e9", "1e-9", "1e-42", "1e30", "1e38", "1e39", "1e308", "1e999", "-1e999",
    "inf", "-inf", "nan", "9" * 309, "9" * 4_400, "0x" + "f" * 5_000, "9223372036854775808", "1e-400", "0.30000000001",
    "100000", "100001", "10000000000", "true", "false", '""', '"x"', '"0.5"', '"' + "y" * 10**4 + '"', '"\\u0000"',
    '"nu\\u0000l"', '"line\\nbreak"', '"\\u001b[31mred"', '"e\\u0301"', '"é"', '"[red]$x_$"', "1979-05-27", "07:32:00",
    "[]", "{}", "[[]]", "[1, 2, 3]", "[1.0, 'a']", "{ a = 1 }", "{ low = 0, high = 1 }", "[1979-05-27]", "5 # x",
    "[" * 2_000 + "]" * 2_000, "[" * 20 + "]" * 20, "{a=" * 300 + "1" + "}" * 300, "[" + "1," * 2_000 + "]",
    "a" * 300, ".".join("a" * 500), "kind", "actions", "latency", "horizon", "shift", "scenario", "low", "steps",
    "choice", "\0", "\r", "\r\n", "\n", "=", "]", "[", '"', "'", "#", "é", "\u2028", "\ufeff", "\\",
]  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, text: str) -> bytes:
    """A text with one to three of its tokens or lines exchanged, removed or doubled, seldom bytes that are no text."""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(("token", "token", "token", "line", "double", "swap", "insert")))
        if kind in ("token", "insert"):
            found = draw(st.sampled_from(list(_TOKENS.finditer(text)) or [re.match("", text)]))
            end = found.start() if kind == "insert" else found.end()
            text = text[: found.start()] + draw(st.sampled_from(_VALUES)) + text[end:]
        else:
            lines = text.split("\n")
            one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            lines[one : one + 1] = {"line": [], "double": [lines[one]] * 2, "swap": [lines[other]]}[kind]
            text = "\n".join(lines)
    content = text.encode()
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at:]
    return content
