"""Good inputs spoiled: bytes, text, tokens of TOML, values of JSON, arrays, archives, tables.

Every mutator takes a `random.Random` and draws everything from it, so that the same generator gives the same input.
"""

import contextlib
import gzip
import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

NUMBERS = (
    "0", "-0.0", "-0", "1", "-1", "0.5", "2", "7", "1.0000001", "0.99999999", "1e-7", "-1e-7", "1e-38", "1e-42",
    "1e-45", "1e-46", "1e-300", "1e38", "-1e38", "3.4028235e38", "3.4028236e38", "1e39", "-1e39", "1e300",
    "1e400", "-1e400", "nan", "-nan", "inf", "-inf", "+inf", "255", "256", "65536", "99999", "100000", "100001",
    "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "1" + "0" * 40, "9" * 309, "9" * 400, "-" + "9" * 400, "0.1234567890123456789",
    "1_000", "0x10", "0b11", "0o17", "1e5", "1e10", "1e19",
)  # fmt: skip
"""Numbers as TOML writes them: ends of ranges, what float32 and float64 cannot hold, and other spellings."""

LONG_NUMBERS = ("9" * 4300, "9" * 4301, "9" * 20_000, "-" + "9" * 4200, "0." + "3" * 5000, "1e" + "9" * 4400)
"""Numbers longer than Python turns into integers."""

TEXTS = (
    "", " ", "x", "search", "Search", "searсh", "naïve", "日本語", "😀", "e\u0301", "\u202eabc", "a\u2028b",
    "a\x85b", "a\x0bb", "\x00", "a\x00b", "\x1b[31mred", "\x07", "\ufeff", "[red]", "[/x]", "$a_$b", "a.b",
    "a=b", "a b", "a\tb", "a\nb", "../..", "/", "/dev/null", "nan", "inf", "true", "1", "None", "null",
    "__class__", "__proto__", "{0}", "%s", "{", "x" * 300, "y" * 5000, "\ud800",
)  # fmt: skip
"""Text that names, keys and paths may not expect."""

VALUES = (
    "true", "false", '""', '"x"', "[]", "{}", "[[]]", "[1]", "[1, 2]", "[1.0, 2.0, 3.0]", "[true]",
    '["a", "a"]', "[nan]", "{ a = 1 }", "{ low = 1, high = 2 }", "1979-05-27", "1979-05-27T07:32:00Z",
    "07:32:00", "'''\na\nb'''",
)  # fmt: skip
"""Values of other types, as TOML writes them."""

CHARACTERS = (
    "\x00", "\x01", "\x1b", "\x7f", "\t", "\r", "\n", "\r\n", "\u2028", "\x85", "\ufeff", "é", "\U0001f600",
    '"', "'", "[", "]", "{", "}", "=", ".", ",", "#", "\\", "\\u0000", "\\ud800", "=", "-", "+",
)  # fmt: skip
"""Characters that do not belong where they are put."""


def several(rng: Random, value: Any, mutators: Sequence[Callable[[Random, Any], Any]]) -> Any:
    """A value after one to four mutations; one is likeliest, so that most inputs have one fault."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        value = rng.choice(mutators)(rng, value)
    return value


# Bytes.


def flip(rng: Random, data: bytes) -> bytes:
    """Another bit at a few places."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: Random, data: bytes) -> bytes:
    """A stretch replaced by zeros, ones or noise."""
    start, length = _stretch(rng, len(data))
    fill = rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length)))
    return data[:start] + fill + data[start + length :]


def truncate(rng: Random, data: bytes) -> bytes:
    """Only the beginning, down to nothing."""
    return data[: rng.choice((0, 1, len(data) // 2, max(0, len(data) - 1), rng.randrange(len(data) + 1)))]


def cut(rng: Random, data: bytes) -> bytes:
    """A stretch left out."""
    start, length = _stretch(rng, len(data))
    return data[:start] + data[start + length :]


def repeat(rng: Random, data: bytes) -> bytes:
    """A stretch twice."""
    start, length = _stretch(rng, len(data))
    return data[: start + length] + data[start:]


def append(rng: Random, data: bytes) -> bytes:
    """Something after the end."""
    return data + rng.choice((b"\0", b"\n", b"\n\n", b" ", b"garbage", b"\x1f\x8b", data[:100], rng.randbytes(64)))


def swap(rng: Random, data: bytes) -> bytes:
    """Two stretches in each other's place."""
    if len(data) < 4:
        return data
    a, b, c = sorted(rng.sample(range(len(data)), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


BYTES = (flip, overwrite, truncate, cut, repeat, append, swap)


def _stretch(rng: Random, size: int) -> tuple[int, int]:
    start = rng.randrange(size) if size else 0
    return start, min(size - start, rng.choice((1, 2, 4, 16, 64, 256)))


# Text.


def encoded(rng: Random, text: str) -> bytes:
    """Text as bytes: mostly plain UTF-8, sometimes with a mark before it, other line ends, or in another encoding."""
    data = text.encode("utf-8", "surrogatepass")
    chance = rng.random()
    if chance < 0.90:
        return data
    if chance < 0.92:
        return b"\xef\xbb\xbf" + data
    if chance < 0.95:
        return data.replace(b"\n", b"\r\n")
    if chance < 0.96:
        return data.replace(b"\n", b"\r")
    if chance < 0.97:
        return text.encode("utf-16", "surrogatepass")
    return rng.choice(BYTES)(rng, data)


def insert_character(rng: Random, text: str) -> str:
    """A character that does not belong there."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(CHARACTERS) + text[place:]


def drop_line(rng: Random, text: str) -> str:
    """A line less."""
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def repeat_line(rng: Random, text: str) -> str:
    """A line again, somewhere."""
    lines = text.split("\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return "\n".join(lines)


def swap_lines(rng: Random, text: str) -> str:
    """Two lines in each other's place."""
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "\n".join(lines)


# TOML, token by token.

_TOKEN = re.compile(r'"""(?:.|\n)*?"""|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[+-]?\d[\w.+-]*|[A-Za-z_][\w-]*|[^\w\s]|\s+')
_NUMERIC = re.compile(r"[+-]?\d")


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _replaced(rng: Random, text: str, wanted: Callable[[str], Any], new: Callable[[str], str]) -> str:
    """One of the wanted tokens replaced."""
    tokens = _tokens(text)
    places = [i for i, token in enumerate(tokens) if wanted(token)]
    if places:
        place = rng.choice(places)
        tokens[place] = new(tokens[place])
    return "".join(tokens)


def number(rng: Random) -> str:
    """Any number, seldom a very long one."""
    return rng.choice(LONG_NUMBERS) if rng.random() < 0.02 else rng.choice(NUMBERS)


def basic_string(text: str) -> str:
    """Text as JSON and TOML quote it."""
    return json.dumps(text)


def value(rng: Random) -> str:
    """Any TOML value."""
    chance = rng.random()
    if chance < 0.4:
        return number(rng)
    if chance < 0.6:
        return basic_string(rng.choice(TEXTS))
    if chance < 0.62:
        depth = rng.choice((5, 60, 500, 3000))
        return "[" * depth + "]" * depth
    if chance < 0.63:
        return "{ a = " * 200 + "1" + " }" * 200
    if chance < 0.64:
        return f"[{', '.join(['1'] * rng.choice((50, 5000)))}]"
    return rng.choice(VALUES)


def other_number(rng: Random, text: str) -> str:
    """One number becomes another."""
    return _replaced(rng, text, _NUMERIC.match, lambda token: number(rng))


def nudged_number(rng: Random, text: str) -> str:
    """One number becomes a plausible other: most of these are accepted."""

    def new(token: str) -> str:
        try:
            found = float(token)
        except ValueError:
            return token
        scaled = found * rng.choice((0, 0.1, 0.5, 0.9, 1.1, 2, 10, 100, -1))
        return str(int(scaled)) if token.isdigit() and math.isfinite(scaled) else repr(scaled)

    return _replaced(rng, text, _NUMERIC.match, new)


def other_value(rng: Random, text: str) -> str:
    """One number, text or truth becomes any value."""
    return _replaced(rng, text, lambda token: token[0] in "\"'" or _NUMERIC.match(token) or token in ("true", "false"),
                     lambda token: value(rng))  # fmt: skip


def other_key(rng: Random, text: str) -> str:
    """One bare word, mostly a key, becomes another: of the same file, misspelt, or strange."""
    words = [token for token in _tokens(text) if token[0].isalpha()]

    def new(token: str) -> str:
        chance = rng.random()
        if chance < 0.4 and words:
            return rng.choice(words)
        if chance < 0.7:
            place = rng.randrange(len(token) + 1)
            return token[:place] + rng.choice("axz_") + token[place + rng.randrange(2) :]
        return basic_string(rng.choice(TEXTS))

    return _replaced(rng, text, lambda token: token[0].isalpha() or token[0] == "_", new)


def swap_tokens(rng: Random, text: str) -> str:
    """Two tokens in each other's place."""
    tokens = _tokens(text)
    places = [i for i, token in enumerate(tokens) if not token.isspace()]
    if len(places) > 1:
        a, b = rng.sample(places, 2)
        tokens[a], tokens[b] = tokens[b], tokens[a]
    return "".join(tokens)


def drop_token(rng: Random, text: str) -> str:
    """A token less."""
    return _replaced(rng, text, lambda token: not token.isspace(), lambda token: "")


def deep_key(rng: Random, text: str) -> str:
    """A table under a long dotted name."""
    return text + "\n[" + ".".join(["a"] * rng.choice((3, 100, 2000))) + "]\nb = 1\n"


TOML = (
    other_number, other_number, nudged_number, nudged_number, nudged_number, other_value, other_key,
    swap_tokens, drop_token, drop_line, drop_line, repeat_line, swap_lines, insert_character,
)  # fmt: skip


def toml(rng: Random, text: str) -> bytes:
    """A TOML file spoiled."""
    if rng.random() < 0.01:
        text = deep_key(rng, text)
    return encoded(rng, several(rng, text, TOML))


# JSON, value by value.

JSON_VALUES = (
    None, True, False, 0, 1, -1, 2, 0.0, -0.0, 0.5, 1.0, 1.0000001, 1e-7, 1e-38, 1e-45, 1e-46, 1e38,
    3.4028236e38, 1e39, -1e39, 1e300, math.nan, math.inf, -math.inf, 2**31, 2**53 + 1, 2**63, 2**64, 10**40,
    10**309, [], {}, [1], [[]], [None], {"a": 1}, [1.0, 2.0, 3.0],
)  # fmt: skip


def json_value(rng: Random) -> Any:
    """Any JSON value."""
    chance = rng.random()
    if chance < 0.7:
        return rng.choice(JSON_VALUES)
    if chance < 0.98:
        return rng.choice(TEXTS)
    nested: Any = 1
    for _ in range(rng.choice((5, 60, 900))):
        nested = [nested] if chance < 0.99 else {"a": nested}
    return nested


def _places(whole: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value; without recursion, as `_contains`."""
    found, left = [], [whole]
    while left:
        value = left.pop()
        for key in value if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            if isinstance(value[key], dict | list):
                left.append(value[key])
    return found


_ARITHMETIC: tuple[Callable[[Any], Any], ...] = (
    lambda x: x * 2, lambda x: x + 1, lambda x: -x, lambda x: x * 0.1, float, str, lambda x: x * 1e9,
    lambda x: x + 1e-6,
)  # fmt: skip


def json_mutate(rng: Random, whole: Any) -> Any:
    """A parsed JSON value with one change; changes it in place."""
    if not isinstance(whole, dict | list):
        return json_value(rng)
    places = _places(whole)
    if not places:
        return json_value(rng)
    holder, key = rng.choice(places)
    held, chance = holder[key], rng.random()
    if chance < 0.35:
        holder[key] = json_value(rng)
    elif chance < 0.55 and isinstance(held, int | float) and not isinstance(held, bool):
        with contextlib.suppress(OverflowError):  # a whole number that is too large already
            holder[key] = rng.choice(_ARITHMETIC)(held)
    elif chance < 0.7:
        del holder[key]
    elif chance < 0.8 and isinstance(holder, dict):
        other = rng.choice((*TEXTS, key.upper(), key + "x", key[:-1], *(rng.choice(list(holder)),)))
        holder[other] = holder.pop(key)
    elif chance < 0.9:
        other_holder, other_key = rng.choice(places)
        if not _contains(held, other_holder) and not _contains(other_holder[other_key], holder):
            holder[key], other_holder[other_key] = other_holder[other_key], held
    elif isinstance(holder, list):
        holder.insert(key, rng.choice((held, json_value(rng))))
    else:
        holder[rng.choice(TEXTS)] = json_value(rng)
    return whole


def _contains(value: Any, container: Any) -> bool:
    """The container is the value or somewhere in it; without recursion, for values nested deeper than Python calls."""
    left = [value]
    while left:
        held = left.pop()
        if held is container:
            return True
        if isinstance(held, dict):
            left.extend(held.values())
        elif isinstance(held, list):
            left.extend(held)
    return False


def json_text(whole: Any, indent: int | None = None) -> str:
    """JSON that other languages might have written: not a number and infinity included."""
    try:
        return json.dumps(whole, indent=indent)
    except (ValueError, RecursionError):
        return "[" * 2000


def json_file(rng: Random, data: bytes) -> bytes:
    """A JSON file spoiled, as a value or as text."""
    if rng.random() < 0.25:
        return several(rng, data, BYTES)
    if rng.random() < 0.1:
        return encoded(rng, several(rng, data.decode(), TOML))
    return encoded(rng, json_text(several(rng, json.loads(data), (json_mutate,)), 2))


def json_lines(rng: Random, data: bytes) -> bytes:
    """Rows of JSON spoiled, a row at a time, or their order."""
    rows = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(rows))
        chance = rng.random()
        if chance < 0.6 and rows[place].startswith(b"{"):
            with contextlib.suppress(ValueError):
                changed = json_text(json_mutate(rng, json.loads(rows[place])))
                rows[place] = changed.encode("utf-8", "surrogatepass")
        elif chance < 0.65:
            rows[place] = several(rng, rows[place], BYTES)
        elif chance < 0.70:
            text = rows[place].decode("utf-8", "replace")
            rows[place] = other_number(rng, text).encode("utf-8", "surrogatepass")
        elif chance < 0.75:
            rows.insert(rng.randrange(len(rows) + 1), rows[place])
        elif chance < 0.80:
            del rows[place]
            rows = rows or [b""]
        elif chance < 0.88:
            other = rng.randrange(len(rows))
            rows[place], rows[other] = rows[other], rows[place]
        elif chance < 0.90:
            rng.shuffle(rows)
        elif chance < 0.95:
            rows.insert(place, rng.choice((b"", b"  ", b"null", b"[]", b"1", b'"a"', b"{}", b"\xef\xbb\xbf", b"\x00")))
        elif rows[place].startswith(b"{"):
            # The same key twice: the last one counts in most readers.
            first = rows[place].find(b":")
            rows[place] = rows[place][:-1] + b"," + rows[place][1 : first + 1] + b"1}"
    data = b"\n".join(rows)
    return data if rng.random() < 0.95 else rng.choice((*BYTES, _marked, _windows))(rng, data)


def _marked(rng: Random, data: bytes) -> bytes:
    del rng
    return b"\xef\xbb\xbf" + data


def _windows(rng: Random, data: bytes) -> bytes:
    del rng
    return data.replace(b"\n", b"\r\n")


def gzipped(rng: Random, data: bytes) -> bytes:
    """Compressed, and often damaged after that."""
    packed = gzip.compress(data, 1, mtime=0)
    chance = rng.random()
    if chance < 0.4:
        return packed
    if chance < 0.5:  # in two members, which is one file
        half = len(data) // 2
        return gzip.compress(data[:half], 1, mtime=0) + gzip.compress(data[half:], 1, mtime=0)
    return several(rng, packed, BYTES)


# Arrays and what holds them.


def array(rng: Random, values: np.ndarray) -> np.ndarray:
    """An array of other numbers, type or shape."""
    chance = rng.random()
    if chance < 0.35 and values.size and values.dtype.kind == "f":
        changed = np.array(values)
        changed.flat[rng.randrange(values.size)] = rng.choice(
            (np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, -0.0, 1e-45, 5.0)
        )
        return changed
    if chance < 0.45 and values.dtype.kind == "f":
        return np.full_like(values, rng.choice((np.nan, np.inf, 0.0, 3e38)))
    if chance < 0.7:
        kind = rng.choice(("f2", "f4", "f8", ">f4", "i4", "i8", "u1", "?", "c8", "S4", "U4", "O"))
        with np.errstate(all="ignore"):
            return values.astype(kind)
    shapes: tuple[Callable[[], np.ndarray], ...] = (
        lambda: values.T,
        lambda: values[:0],
        lambda: values[:-1],
        lambda: values[None],
        lambda: values.ravel(),
        lambda: np.concatenate([values, values]) if values.ndim else values,
        lambda: np.array(1.0),
        lambda: np.zeros((0,)),
        lambda: values[..., :1] if values.ndim else values,
    )
    return np.array(rng.choice(shapes)()) if values.ndim else np.array([values, values])


def _stored(values: np.ndarray) -> bytes:
    """An array as ``.npy``, objects pickled."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def _boast(rng: Random, data: bytes) -> bytes:
    """An ``.npy`` whose header promises far more numbers than there are."""
    shape = rng.choice((b"(1000000000000,)", b"(1099511627776, 1099511627776)", b"(2147483648,)", b"(-1,)"))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + b", }\n"
    return data[:8] + struct.pack("<H", len(header)) + header + data[-16:]


def npz(rng: Random, data: bytes) -> bytes:
    """An archive of arrays spoiled: its bytes, or one array, well packed."""
    if rng.random() < 0.3:
        return several(rng, data, BYTES)
    with np.load(io.BytesIO(data)) as archive:
        members = {name: archive[name] for name in archive.files}
    name = rng.choice(list(members))
    stored = {key: _stored(values) for key, values in members.items() if key != name}
    chance = rng.random()
    if chance < 0.7:
        stored[name] = _stored(array(rng, members[name]))
    elif chance < 0.8:
        stored[rng.choice((name + "x", "", "/etc/passwd", "../" + name, *members))] = _stored(members[name])
    elif chance < 0.85:
        stored[name] = _boast(rng, _stored(members[name]))
    elif chance < 0.9:
        stored[name] = several(rng, _stored(members[name]), BYTES)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as packed:
        for key, content in stored.items():
            packed.writestr(zipfile.ZipInfo(f"{key}.npy"), content)
    return buffer.getvalue()


def tree(rng: Random, whole: Any) -> Any:
    """A tree of dicts and arrays with one change; changes it in place."""
    places = _places(whole) if isinstance(whole, dict) else []
    if not places:
        return {}
    holder, key = rng.choice(places)
    held, chance = holder[key], rng.random()
    if isinstance(held, np.ndarray) and chance < 0.75:
        changed = array(rng, held)
        holder[key] = held.astype("f8") if changed.dtype.kind in "OUS" else changed
    elif chance < 0.85:
        del holder[key]
    elif chance < 0.92:
        holder[rng.choice(("kernel", "bias", "Dense_9", "", "params"))] = held
    else:
        holder[key] = rng.choice((None, 1, 1.5, "x", b"x", [], {}, True))
    return whole


def parquet(rng: Random, data: bytes) -> bytes:
    """A table spoiled: its bytes, or one column, well packed."""
    if rng.random() < 0.3:
        return several(rng, data, BYTES)
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    place = rng.randrange(table.num_columns)
    name, column = table.column_names[place], table.column(place)
    chance = rng.random()
    if chance < 0.15:
        table = table.remove_column(place)
    elif chance < 0.25:
        table = table.append_column(rng.choice(("extra", name, "")), column)
    elif chance < 0.35:
        names = table.column_names
        names[place] = rng.choice((*TEXTS[:12], *names))
        table = table.rename_columns(names)
    elif chance < 0.45:
        table = rng.choice((table[:0], table[:-1], table.take(list(range(table.num_rows))[::-1]),
                            pyarrow.concat_tables([table, table])))  # fmt: skip
    else:
        values: list[Any] = column.to_pylist()
        if chance < 0.75:
            values[rng.randrange(len(values))] = rng.choice((None, math.nan, math.inf, 1e39, -1.0, 5.0))
            kind = pyarrow.float64()
            values = [x if x is None or isinstance(x, int | float) else 0.0 for x in values]
            values = [x if x is None else float(x) for x in values]
        else:
            kind = rng.choice((pyarrow.string(), pyarrow.list_(pyarrow.string()), pyarrow.binary(), pyarrow.null()))
            values = [_as_kind(x, kind) for x in values]
        table = table.set_column(place, name, pyarrow.array(values, kind))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _as_kind(value: Any, kind: pyarrow.DataType) -> Any:
    if kind == pyarrow.null():
        return None
    if pyarrow.types.is_list(kind):
        return [str(value)]
    return str(value).encode() if kind == pyarrow.binary() else str(value)


def mapping(files: Mapping[str, bytes], name: str, data: bytes) -> dict[str, bytes]:
    """The same files, one of them with other contents."""
    return {**files, name: data}
