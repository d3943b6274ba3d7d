"""The router: choices as in JAX from events alone, by the standard library, whatever happens."""

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from aljax import router
from aljax.logs.readers import read_episodes
from aljax.router import Router, RouterError

from desk import desk, drawing, loaded, text

MODULE = Path(router.__file__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("router")


@pytest.fixture(scope="module")
def desk_router(folder):
    return loaded(folder)


@pytest.mark.parametrize(
    ("policy", "inputs", "ruled"),
    [("mlp", "belief", False), ("gru", "belief", False), ("mlp", "observation", False), ("mlp", "observation", True)],
)
def test_choices_and_numbers_are_those_of_jax(folder, policy, inputs, ruled):
    found = loaded(folder, policy=policy, inputs=inputs, ruled=ruled)
    examples = found.data["examples"]
    chosen = {step["action"] for example in examples for step in example["steps"]}
    assert len(chosen) > 1 and sum(len(example["steps"]) for example in examples) > 20
    assert found.replay(examples) < 1e-9


def test_what_is_not_told_of_a_call_is_what_such_calls_take(desk_router):
    told, untold = desk_router.start()._book, desk_router.start()._book
    told.record(1, True, 2.0, 0.02)
    untold.record(1, True, None, None)
    assert told.features() == pytest.approx(untold.features())
    told.record(1, False, 2.0, 0.05 + 0.01)
    untold.record(1, False, None, None)
    assert told.features() == pytest.approx(untold.features())
    untold.record(0, False, None, None)  # spread and cut off: the simulator's mean
    normal = np.random.default_rng(0).standard_normal(400_000)
    mean = np.minimum((6.0 + 2 * 0.4) * np.exp(0.8 * normal - 0.32), 20.0).mean()
    assert untold.latency == pytest.approx(4.0 + mean, rel=0.005)


def test_it_needs_nothing_but_the_standard_library(folder):
    loaded(folder)
    script = (
        "import sys, runpy; m = runpy.run_path(sys.argv[1], run_name='router'); r = m['Router'].load(sys.argv[2]); "
        "r.start().choose(); heavy = {'numpy', 'jax', 'flax', 'scipy', 'aljax'}; print(heavy & set(sys.modules))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(MODULE), str(folder / "router.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) < 500


def test_importing_it_from_the_package_loads_neither_jax_nor_numpy():
    script = "import sys, aljax.router; print({'jax', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_it_checks_itself(folder):
    loaded(folder)
    command = [sys.executable, str(MODULE), "--check", str(folder / "router.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "choices as in training" in done.stdout and not done.stderr
    data = (folder / "router.json").read_bytes()
    spoiled = folder / "spoiled.json"
    spoiled.write_bytes(data.replace(b'"ok": true', b'"ok": null', 1))
    done = subprocess.run([*command[:-1], str(spoiled)], capture_output=True, text=True)
    assert done.returncode == 2 and "changed since it was written" in done.stderr and done.stderr.count("\n") == 1
    assert subprocess.run(command[:2], capture_output=True, text=True).returncode == 1


def test_what_is_offered_is_at_least_margin_times_as_likely_as_the_likeliest(desk_router):
    choice = desk_router.start().choose()
    best = max(choice.probabilities.values())
    worth = [name for name, p in choice.probabilities.items() if p >= desk_router.margin * best]
    assert choice.allowed == worth and choice.action in worth and not choice.fallback
    assert sum(choice.probabilities.values()) == pytest.approx(1.0)
    only = desk_router.start().choose(["wait"])
    assert (only.action, only.allowed, only.probabilities) == ("wait", ["wait"], {"wait": 1.0})


def test_what_training_does_not_cover_is_the_fallback_and_blocks_nothing(desk_router):
    episode = desk_router.start()
    order = desk_router.data["fallback"]["order"]
    unknown = episode.choose(["wait", "search", "fly"])
    assert unknown.fallback and "'fly' is not a row of the router" in unknown.reason
    assert unknown.allowed == ["wait", "search", "fly"] and unknown.action == "search" == min(
        ("wait", "search"), key=order.index
    )
    assert episode.choose([]) == (None, {}, [], "fallback: nothing is available", True, {})
    nothing = episode.choose(["fly"])
    assert nothing.action is None and nothing.allowed == ["fly"]
    assert not episode.choose(["wait", "search"]).fallback  # what was offered once is forgotten
    for _ in range(3):
        episode.record("update", ok=True, seconds=1.0)
    spent = episode.choose(["update"])
    assert spent.allowed == ["update"] and "may be called any more" in spent.reason
    assert "update" not in episode.choose().allowed
    for _ in range(5):
        episode.record("wait", ok=True, seconds=1.0)
    assert "past the 8 steps" in episode.choose().reason
    late, over, foreign = desk_router.start(), desk_router.start(), desk_router.start()
    late.record("search", ok=False, seconds=90.0)
    assert "past the 90 seconds" in late.choose().reason
    assert late.choose(["search", "wait"]).action == "wait"  # what failed last comes last
    over.record("escalate", ok=True)
    assert "escalate ended the episode" in over.choose().reason
    foreign.record("fly", ok=True)
    assert "'fly' was called" in foreign.choose().reason


def test_nothing_that_an_agent_says_makes_it_raise(folder, caplog):
    found, rng = loaded(folder), np.random.default_rng(0)
    strange = [None, "", "search", "é", 3, float("nan"), float("inf"), -1.0, 1e300, True, [], b"x"]
    with caplog.at_level(logging.CRITICAL):
        for _ in range(300):
            episode = found.start(task="t")
            for _ in range(6):
                pick = [strange[rng.integers(len(strange))] for _ in range(4)]
                choice = episode.choose(pick if rng.random() < 0.8 else None)
                assert choice.allowed or not choice.reason.startswith("fallback")
                episode.record(pick[0], pick[1], pick[2], pick[3])
            episode.end(pick[0])
    broken = found.start()
    broken._book.z = None
    before = found.errors
    with caplog.at_level(logging.WARNING):
        choice = broken.choose(["wait"])
        broken.record("wait", True)
    assert choice.fallback and choice.allowed == ["wait"] and choice.action == "wait"
    assert found.errors == before + 2 and "fallback" in caplog.text


def test_files_that_were_changed_are_refused(folder):
    good, rng, path = text(), np.random.default_rng(1), folder / "mutant.json"
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(len(data))
            kind = rng.integers(3)
            data[at : at + (kind != 1)] = bytes([rng.integers(256)]) if kind else b""
        if data == good:
            continue
        path.write_bytes(data)
        with pytest.raises(RouterError, match=r"^.*mutant.json: [^\n]*$"):
            Router.load(path)


def test_files_that_are_no_routers_are_refused_in_one_line(folder):
    def sealed(data):
        rest = b'",\n' + json.dumps(data)[1:].encode()
        return b'{"digest": "' + hashlib.sha256(rest).hexdigest().encode() + rest

    data = {key: value for key, value in json.loads(text()).items() if key != "digest"}
    path = folder / "foreign.json"
    path.write_bytes(sealed(data))
    Router.load(path)
    spoiled = [
        {key: value for key, value in data.items() if key != name} for name in ("rows", "network", "examples", "margin")
    ]
    spoiled += [data | {"version": 2}, data | {"rows": data["rows"][1:]}, data | {"horizon": "8"}, data | {"rows": 3}]
    spoiled += [data | {"features": ["task"]}, data | {"network": data["network"] | {"layers": {}}}]
    for number, found in enumerate(spoiled):
        path.write_bytes(sealed(found))
        with pytest.raises(RouterError, match="damaged, or of another version") as refused:
            Router.load(path)
        assert "\n" not in str(refused.value), number
    for content, what in ((b"", "no router file"), (b"[]", "no router file"), (b"\x80\x04\x95", "no router file")):
        path.write_bytes(content)
        with pytest.raises(RouterError, match=what):
            Router.load(path)
    with pytest.raises(RouterError, match="cannot be read: No such file"):
        Router.load(folder / "absent.json")
    with pytest.raises(RouterError, match="cannot be read"):
        Router.load(folder)


def _episodes(found, numbers, out):
    for number in numbers:
        out[number] = _episode(found, number)


def _episode(found, number):
    rng, episode, chosen = np.random.default_rng(number), found.start(), []
    for _ in range(8):
        choice = episode.choose()
        chosen.append(choice)
        episode.record(choice.action, ok=bool(rng.random() < 0.6), seconds=float(rng.exponential(4.0)))
    episode.end()
    return chosen


def test_threads_and_asynchronous_tasks_choose_as_one_alone_would(folder):
    found = loaded(folder, policy="gru")
    alone = {number: _episode(found, number) for number in range(80)}
    together: dict = {}
    threads = [threading.Thread(target=_episodes, args=(found, range(n, 80, 8), together)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone

    async def one(number):
        rng, episode, chosen = np.random.default_rng(number), found.start(), []
        for _ in range(8):
            choice = episode.choose()
            chosen.append(choice)
            await asyncio.sleep(0)
            episode.record(choice.action, ok=bool(rng.random() < 0.6), seconds=float(rng.exponential(4.0)))
        return chosen

    async def several():
        return await asyncio.gather(*map(one, range(80)))

    assert asyncio.run(several()) == list(alone.values())


def test_its_log_is_an_agent_log_with_probabilities(folder):
    log = folder / "drawn.jsonl"
    found = drawing(log)
    kinds = dict(zip(desk().action_names, desk().kinds, strict=True))
    for number in range(20):
        episode, rng = found.start(task=f"task{number % 5}"), np.random.default_rng(number)
        for _ in range(4):
            choice = episode.choose(["search", "update", "wait"])
            episode.record(choice.action, ok=bool(rng.random() < 0.7), seconds=1.5, dollars=0.01)
        episode.choose(binding=False)
        episode.record("wait", ok=True)
        episode.choose(["wait", "fly"])
        episode.record("wait", ok=True)
        episode.end(success=number % 2 == 0, reason="done")
    read = list(read_episodes(log))
    assert len(read) == 20 and {each.task for each in read} == {f"task{n}" for n in range(5)}
    for each in read:
        assert [step["t"] for step in each.steps] == list(range(6))
        for step in each.steps[:4]:
            assert step["probabilities"][step["name"]] == step["probability"]
            assert sum(step["probabilities"].values()) == pytest.approx(1.0)
            assert step["kind"] == kinds[step["name"]]
        assert each.steps[5]["probabilities"] == {"wait": 1.0}  # a fallback draws nothing
        assert "probability" not in each.steps[4] and "latency_s" not in each.steps[4]
    assert len({step["name"] for each in read for step in each.steps}) > 1

    likeliest = loaded(folder, log=folder / "likeliest.jsonl")
    episode = likeliest.start()
    choice = episode.choose()
    episode.record(choice.action, ok=True)
    episode.end()
    episode.end()
    (only,) = read_episodes(folder / "likeliest.jsonl")
    assert only.steps[0]["probabilities"] == {choice.action: 1.0} and only.end.get("success") is None


def test_drawn_choices_are_as_likely_as_it_says():
    episode = drawing(seed=5).start()
    offered = episode.choose()
    kept = np.array([offered.probabilities[name] for name in offered.allowed])
    drawn = [episode.choose().action for _ in range(2000)]
    shares = np.array([drawn.count(name) / len(drawn) for name in offered.allowed])
    assert len(kept) > 2 and shares == pytest.approx(kept / kept.sum(), abs=0.05) and shares.sum() == pytest.approx(1.0)


def test_a_reading_that_is_missing_is_the_fallback(folder):
    data = json.loads(text())
    del data["coordinates"][0]["start"]
    found = Router(data, None, False, None, "router.json")
    assert "without a reading of 'answers'" in found.start().choose().reason
    assert not found.start(readings={"answers": 2.0}).choose().fallback
