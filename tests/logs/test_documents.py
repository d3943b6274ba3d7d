"""Documents of any file, whole or in pieces of their own shape."""

import gzip
import io
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import UserError
from aljax.logs import documents as module
from aljax.logs.containers import documents_of
from aljax.logs.documents import documents

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def read(data):
    stream = io.BufferedReader(io.BytesIO(data), 64)
    return [(found.row, found.value) for found in documents(stream, "file")]


@settings(max_examples=60, deadline=None)
@given(st.lists(TREES, max_size=5), st.sampled_from([None, 0, 2]), st.sampled_from(["\n", "\n\n", " ", "\r\n \n"]))
def test_documents_are_the_same_on_one_line_or_many_and_whatever_is_between_them(values, indent, between):
    text = between.join(json.dumps(value, indent=indent) for value in values)
    assert [value for _, value in read(text.encode())] == values


def test_rows_are_those_on_which_documents_begin():
    assert read(b'\xef\xbb\xbf{"a": 1}\n\n{\n"b": 2\n}\n3 4\n') == [(1, {"a": 1}), (3, {"b": 2}), (6, 3), (6, 4)]


@pytest.fixture
def small(monkeypatch):
    """Documents of more than 100 bytes are too large to be read at once."""
    monkeypatch.setattr(module, "PIECE", 100)
    monkeypatch.setattr(module, "_CHUNK", 16)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_document_comes_in_pieces_of_its_own_shape(small, indent):
    spans = [{"id": n, "attributes": [{"key": "k", "value": {"s": "},{" * (n % 3)}}]} for n in range(50)]
    scopes = [{"scope": "s", "spans": spans[:30]}, {"spans": spans[30:]}]
    document = {"resource": {"name": "r"}, "scopes": scopes, "after": 1}
    pieces = [value for _, value in read(json.dumps(document, indent=indent).encode() + b"\n[1]\n")]
    assert pieces.pop() == [1] and len(pieces) > 10
    found = [span for piece in pieces for scope in piece.get("scopes", ()) for span in scope.get("spans", ())]
    assert found == spans
    assert all(piece["resource"] == {"name": "r"} for piece in pieces)
    assert all(scope["scope"] == "s" for piece in pieces[:5] for scope in piece["scopes"])
    assert pieces[-1]["after"] == 1


def test_values_that_hold_others_that_begin_alike_are_found_one_by_one(small):
    values = [{"id": n, "calls": [{"id": n, "x": [{"id": 1}] * 9}]} for n in range(40)]
    pieces = [value for _, value in read(json.dumps({"about": "x", "runs": values}, separators=(",", ":")).encode())]
    assert [run for piece in pieces for run in piece["runs"]] == values and 4 < len(pieces) < 60
    assert all(piece["about"] == "x" for piece in pieces)


def test_what_is_small_stays_beside_what_comes_after_something_large(small, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 20)
    document = {"about": "x", "large": ["y" * 30, "z" * 30, "w" * 30], "more": ["v" * 30] * 9, "end": 1}
    pieces = [value for _, value in read(json.dumps(document).encode())]
    assert all(piece["about"] == "x" for piece in pieces) and pieces[-1]["end"] == 1
    assert [text for piece in pieces for text in piece.get("more", ())] == document["more"]
    pieces = [value for _, value in read(json.dumps({f"key {n}": "x" * 9 for n in range(200)}).encode())]
    assert {key for piece in pieces for key in piece} == {f"key {n}" for n in range(200)}
    assert all(len(piece) < 20 for piece in pieces)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.text(max_size=40), "b": TREES}), min_size=3, max_size=30))
def test_a_long_list_is_whole_whatever_its_values_hold(values):
    before, module.PIECE = module.PIECE, 64
    try:
        pieces = [value for _, value in read(json.dumps(values, separators=(",", ":")).encode())]
    finally:
        module.PIECE = before
    whole = [value for piece in pieces for value in piece]
    if all(len(json.dumps(value)) < 64 for value in values):
        assert whole == values
    assert [value["a"] for value in whole if "a" in value][:1] == [values[0]["a"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1}\n{"b": [1, 2\n', "row 2: not JSON: cut short"),
        (b'{"a": 1}\n{"b": "x\n{"c": 1}\n', "row 2: not JSON: "),
        (b'{"a" 1}\n', "row 1: not JSON: "),
        (b"[" * 5_000, "row 1: not JSON: cut short"),
        (b"[" * 5_000 + b"]" * 5_000, "row 1: not JSON: "),
        (b"\xff\xfe{\x00}\x00", "row 1: not JSON: "),
        (b"a,b\n1,2\n", "row 1: not JSON: "),
    ],
    ids=range(7),
)
def test_what_is_no_json_is_refused_in_one_line_with_its_row(data, message):
    with pytest.raises(UserError) as refusal:
        read(data)
    assert f"file, {message}" in str(refusal.value) and "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


@pytest.mark.parametrize("data", [b'["' + b"x" * 500, b"[" * 500, b'{"a":' * 300, b'{"a": [{"b": ' + b'"c" ' * 200])
def test_what_is_large_and_no_json_is_refused_as_well(small, data, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 200)
    with pytest.raises(UserError, match=r"^file, row 1: (not JSON|a text longer than|too large, and nested)"):
        read(data)


def test_half_characters_and_numbers_that_are_none_do_not_cost_a_document():
    assert read(b'{"a": "\\ud83d!", "b": NaN, "c": 1}\n') == [(1, {"a": "?!", "b": None, "c": 1})]
    assert read(b'{"a": "x\ny"}\n[1]\n') == [(1, {"a": "x\ny"}), (3, [1])]
    assert read(b'{"a": "\xc3", "b": 1}\n') == [(1, {"a": "�", "b": 1})]


def test_zipped_files_and_their_damage(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 3))
    assert [found.value for found in documents_of(path)] == [{"a": 1}] * 3
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"log.gz: damaged or truncated gzip"):
        list(documents_of(path))


def test_memory_does_not_grow_with_a_document(tmp_path):
    element = json.dumps({"id": "x" * 400, "attributes": [{"key": "k", "value": {"stringValue": "v"}}] * 8})
    before, after = '{"a": 1, "data": {"spans": [', "]}}"
    path = tmp_path / "long.json"
    with path.open("w") as file:
        file.write(before + element)
        for _ in range(60_000):
            file.write("," + element)
        file.write(after)
    program = (
        "import resource, sys; from aljax.logs.containers import documents_of\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for _ in documents_of(sys.argv[1])) > 3\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 40e6 and int(found.stdout) < 150_000  # KiB
