"""Spoiled files and options are read as they say or refused in one line; ``studies/fuzz.py`` does this for long."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax.scenario import parse_scenario

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import fuzz

from fuzzing import cases, material, worker
from fuzzing.cases import Case
from fuzzing.kinds import KINDS, Logs, Overrides, Scenarios, SweepFiles

INPUTS = {
    "scenarios": 300,
    "overrides": 200,
    "sweep files": 200,
    "logs": 300,
    "run folders": 40,
    "sweep folders": 40,
    "command lines": 30,
}
QUICK = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    material.make(folder)
    return folder


def complaints(kind, case, place):
    """What must not be of one input, in words."""
    finding = cases.outcome(kind, case, place)[1]
    return None if finding is None else f"{finding.cause}\n{finding.detail}"


@pytest.mark.parametrize("name", INPUTS)
def test_what_is_spoiled_is_refused_in_one_line_or_is_what_it_says(name, home, monkeypatch):
    monkeypatch.setenv("ALJAX_CACHE_DIR", "")
    kind, accepted = worker.kind_of(name, home), 0
    for index in range(INPUTS[name]):
        found, finding = worker.read(kind, worker.case_of(kind, 0, index), home / "it")
        assert finding is None, f"studies/fuzz.py --kinds {name!r} --only {index}: {finding.cause}\n{finding.detail}"
        accepted += not isinstance(found, BaseException)
    assert accepted, "nothing was accepted: what is checked of accepted inputs was never checked"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_seed_and_number_give_the_same_input(kind, home):
    one, other = kind(home), kind(home)
    assert [worker.case_of(one, 3, i) for i in range(20)] == [worker.case_of(other, 3, i) for i in range(20)]
    assert worker.case_of(one, 3, 1) != worker.case_of(one, 4, 1)


NAMES = st.text(max_size=12) | st.sampled_from(["horizon", "weights", "actions", "failure", "weak", "error", "drift"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 10**309, -(10**40), 1e39, 1e-45])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_file_makes_a_scenario_or_a_sweep_by_accident(home, data):
    case = Case({"it.toml": data}, options={"set": []})
    assert complaints(Scenarios(home), case, home / "it") is None
    assert complaints(SweepFiles(home), case, home / "it") is None


@QUICK
@given(st.lists(NAMES, max_size=4).map(".".join), JSON.map(lambda value: json.dumps(value, ensure_ascii=False)))
def test_any_setting_is_taken_as_it_says_or_refused(home, key, value):
    case = Case({"it.toml": material.SMALL.encode()}, options={"overrides": [f"{key}={value}"]})
    assert complaints(Overrides(home), case, home / "it") is None


@QUICK
@given(st.data())
def test_any_value_in_a_row_of_a_log_is_taken_as_it_says_or_refused(home, data):
    rows = [json.loads(line) for line in (home / "both.jsonl").read_text().splitlines()]
    row = data.draw(st.sampled_from(rows))
    row[data.draw(st.sampled_from([*row, "probabilities", "task"]))] = data.draw(JSON)
    case = Case({"0.jsonl": "\n".join(map(json.dumps, rows)).encode("utf-8", "surrogatepass")})
    assert complaints(Logs(home), case, home / "it") is None


# The fuzz itself: what it is to find, it finds.


class Broken(Scenarios):
    """A reader with faults."""

    name = "broken"

    def __init__(self, fault):
        super().__init__(None)
        self.fault = fault

    def read(self, case, place):
        found = super().read(case, place)
        return self.fault(found)


def hangs(found):
    while True:
        pass


def grows(found):
    return found


def raises(found):
    raise KeyError("x")


def changes(found):
    table = dataclasses.replace(found.params.actions, latency=found.params.actions.latency + 1)
    return dataclasses.replace(found, params=dataclasses.replace(found.params, actions=table))


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (hangs, "hang"),
        (grows, "memory"),
        (raises, "KeyError"),
        (changes, "accepted: latency is not what the file says"),
    ],
)
def test_a_faulty_reader_is_found_out(fault, cause, tmp_path, monkeypatch):
    if fault is hangs:
        monkeypatch.setattr(worker, "SECONDS", 0.2)
    if fault is grows:
        peaks = iter([2**30, 2**30 + worker.GROWTH + 1])
        monkeypatch.setattr(worker, "_peak", lambda: next(peaks))
    case = Case({"it.toml": material.SMALL.encode()})
    _, finding = worker.read(Broken(fault), case, tmp_path / "it")
    assert finding is not None and finding.cause.startswith(cause)
    assert not (tmp_path / "it").exists()


def test_accepted_scenarios_are_played_and_numbers_that_end_as_nan_are_found():
    good = parse_scenario(material.SMALL, name="small", where="small.toml").params
    far = dataclasses.replace(good, start_high=good.start_high * np.float32(3e38))
    rollouts = worker.Rollouts()
    found = [read for index in range(20) for read in rollouts.add(index, far if index == 7 else good)]
    found += rollouts.rest()
    assert [read.index for read in found if read.finding is not None] == [7]
    assert len(found) == 20 and all(read.rolled_out for read in found)


def test_an_input_that_is_late_once_is_no_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "SECONDS", 0.2)
    slow = iter([True, False])
    kind = Broken(lambda found: hangs(found) if next(slow) else found)
    found, finding = worker.read(kind, Case({"it.toml": material.SMALL.encode()}), tmp_path / "it")
    assert finding is None and found.name == "it"


def test_a_finding_is_made_smaller_and_kept_with_what_repeats_it(tmp_path):
    kind, case = Broken(raises), Case({"it.toml": material.SMALL.encode() + b"\n# nothing" * 20})
    finding = cases.outcome(kind, case, tmp_path / "it")[1]
    small = cases.smaller(case, finding, lambda other: cases.outcome(kind, other, tmp_path / "it")[1])
    assert b"# nothing" not in small.files["it.toml"] and len(small.files["it.toml"]) < len(material.SMALL)
    cases.keep(tmp_path / "kept", small, finding, {"seed": 0})
    assert (tmp_path / "kept" / "it.toml").read_bytes() == small.files["it.toml"]
    assert json.loads((tmp_path / "kept" / "finding.json").read_text())["cause"] == finding.cause


def test_the_receipt_counts_what_came_of_every_input(tmp_path, capsys):
    status = fuzz.main(["--inputs", "120", "--kinds", "overrides", "--json", str(tmp_path / "fuzz.json")])
    receipt = json.loads((tmp_path / "fuzz.json").read_text())
    kind = receipt["kinds"]["overrides"]
    assert status == int(bool(kind["findings"])) and not receipt["interrupted"]
    assert kind["inputs"] == kind["accepted"] + kind["refused"] == receipt["total"]["inputs"] == 120
    assert kind["accepted"] > 10 and kind["peak_bytes"] > 0
    assert "inputs 120" in capsys.readouterr().out


def test_a_bad_option_of_the_fuzz_gives_one_line(capsys):
    assert fuzz.main(["--only", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
