"""What is said of programs for chips that are not there: launches as counted, and, with the plugins, real programs."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chips import launches, measured, operations, page, programs, target
from chips.rows import row

PROGRAM = """HloModule jit_train, is_scheduled=true

%fused.1 (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %b = f32[4]{0} sort(%a), dimensions={0}
}

%step (p: (f32[4], s32[])) -> (f32[4], s32[]) {
  %p = (f32[4]{0}, s32[]) parameter(0)
  %fusion.1 = f32[4]{0} fusion(%p), kind=kLoop, calls=%fused.1
  %copy.2 = f32[4]{0} copy(%fusion.1)
  ROOT %tuple.1 = (f32[4]{0}, /*index=1*/s32[]) tuple(%copy.2, %p)
}

%drawn (p: f32[4]) -> f32[4] {
  ROOT %fusion.9 = f32[4]{0} fusion(%p), kind=kLoop, calls=%fused.1
}

%update (p: (f32[4], s32[])) -> (f32[4], s32[]) {
  %p.1 = (f32[4]{0}, s32[]) parameter(0)
  %conditional.1 = (f32[4]{0}, s32[]) conditional(%p.1, %p.1), branch_computations={%drawn, %drawn}
  %while.1 = (f32[4]{0}, (s32[], s32[])) while(%p.1), body=%step, backend_config={"known_trip_count":{"n":"10"}}
  ROOT %kernel = (f32[4]{0}, s32[]) custom-call(%while.1), custom_call_target="__gpu$xla.gpu.triton"
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %while.2 = (f32[4]{0}, s32[]) while(%x), condition=%go, body=%update, metadata={op_name="a copy(b"}
  %call.1 = f32[4]{0} call(%x), to_apply=%drawn
  ROOT %copy.9 = f32[4]{0} copy(%call.1)
}
"""
"""As XLA writes programs: an update that draws under a condition, plays 10 steps of 2 launches, and calls a kernel."""


def test_launches_are_counted_loop_by_loop():
    found = launches.count(PROGRAM)
    assert found.kinds == {"copy": 1}
    assert found.total == 1 + 1 + (1 + 10 * 2 + 1)
    update = found.open_loop
    assert update is not None
    assert update.kinds == {"conditional": 1, "custom-call": 1} and update.conditionals == 1
    assert [(loop.trips, loop.inside.kinds) for loop in update.loops] == [(10, {"copy": 1, "fusion": 1})]
    assert found.to_json()["launches"] == found.total


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("  %a.1 = f32[2]{0} fusion(%b), kind=kLoop", "fusion"),
        ("  ROOT %a = (f32[2]{0}, (s32[], /*index=5*/u8[1]{0:T(8)})) while(%b), body=%c", "while"),
        ("  %a = ((f32[2], u32[]), f32[]) copy-start(%b)", "copy-start"),
        ("}", None),
    ],
)
def test_an_operation_is_told_from_its_type(line, operation):
    assert launches.operation(line) == operation


def test_every_chip_says_where_its_numbers_are_from():
    chips = target.catalogue()
    assert set(chips) == {"h100", "v5e", "v6e"}
    for chip in chips.values():
        assert chip.sources and (chip.description is None) == (chip.platform == "tpu")
        assert (chip.launch_seconds is None) == (chip.platform == "tpu"), "a TPU's program is one launch"
    described = Path(target.__file__).with_name(str(chips["h100"].description)).read_text(encoding="utf-8")
    assert f"device_memory_size: {chips['h100'].memory_bytes}\n" in described
    numbers = dict(line.strip().split(": ") for line in described.splitlines() if line.count(": ") == 1)
    peak = int(numbers["core_count"]) * int(numbers["fpus_per_core"]) * 2 * float(numbers["clock_rate_ghz"]) * 1e9
    assert chips["h100"].flops_per_second == pytest.approx(peak, rel=1e-3)


def twice(reference, out):
    out[...] = reference[...] + reference[...]


@pytest.mark.parametrize(
    ("function", "operations_"),
    [
        (lambda x: jnp.tanh(x @ x), 2 * 4 * 4 * 4 + 16),
        (lambda x: jax.lax.scan(lambda y, _: (y * x, None), x, length=3)[0], 3 * 16),
        (lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y, lambda y: y @ y, x), 2 * 4 * 4 * 4),
        (lambda x: x.T.reshape(2, 8)[0], 0),
        (lambda x: jnp.sum(x), 16),
        (pl.pallas_call(twice, jax.ShapeDtypeStruct((4, 4), jnp.float32), grid=(2,)), 2 * 16),
    ],
    ids=["product", "loop", "condition", "moved", "sum", "kernel"],
)  # fmt: skip
def test_floating_point_operations_are_counted(function, operations_):
    assert operations.flops(function, jax.ShapeDtypeStruct((4, 4), jnp.float32)) == operations_


class Stub:
    """A compiled program of 100 MiB."""

    def as_text(self):
        return PROGRAM

    def memory_analysis(self):
        return self

    argument_size_in_bytes = output_size_in_bytes = alias_size_in_bytes = 2**20
    temp_size_in_bytes = 99 * 2**20


def rows_of(chip, flops):
    made = target.Compiled(chip, Stub(), 1.0)
    return [row(name, made, flops, steps=10) for name in ("update", "rollout")]


def test_a_row_is_counted_by_the_update_and_its_floor_is_launches_or_arithmetic():
    chips = target.catalogue()
    update, rollout = rows_of(chips["h100"], flops=1.0)
    assert (update["launches"], update["conditionals"], update["launches_around_updates"]) == (22, 1, 2)
    assert rollout["launches"] == 24 and rollout["launches_a_step"] == 2.4
    np.testing.assert_allclose(update["floor_seconds"], [22 * 2e-6, 22 * 4e-6])
    assert update["memory"]["in_all"] == 100 * 2**20
    assert rows_of(chips["h100"], flops=66.9e12)[0]["floor_seconds"] == [1.0, 1.0]
    held, _ = rows_of(chips["v5e"], flops=197e12)
    assert "launches" not in held and held["floor_seconds"] == [1.0]
    assert held["share_of_memory"] == 100 * 2**20 / 16e9


def test_the_page_shows_both_revisions_and_what_was_not_compiled(tmp_path):
    chips = target.catalogue()
    rows = [each for chip in chips.values() for each in rows_of(chip, flops=1e6)]
    failed = {"chip": "h100", "program": "solver", "failed": "INTERNAL: no"}
    receipt = {
        "started": "then",
        "versions": {"jax": "1"},
        "chips": {key: chip.to_json() for key, chip in chips.items()},
        "rows": [*rows, failed],
        "before": {"revision": "0ld", "rows": rows},
    }
    page.write(receipt, tmp_path / "page.md", None)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "Nothing on this page was measured" in text and "launches at 0ld" in text
    line = next(line for line in text.splitlines() if line.startswith("| an update of 5 seeds"))
    assert line.split(" | ")[1:] == ["22", "1", "100 MiB", "1", "44 to 88", "22", "1", "44 to 88 |"]
    assert "| not compiled |" in text and "| 100 MiB | 0.66 % | 1 |" in text


def test_the_page_in_the_documentation_is_that_of_the_receipt(tmp_path):
    root = Path(__file__).parents[2]
    results = root / "benchmarks" / "results"
    measured_too = results / "gpu.json"
    gpu = json.loads(measured_too.read_text(encoding="utf-8")) if measured_too.is_file() else None
    page.write(json.loads((results / "accelerators.json").read_text(encoding="utf-8")), tmp_path / "page.md", gpu)
    written = (root / "docs" / "reference" / "accelerators.md").read_text(encoding="utf-8")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == written


def test_what_was_measured_is_shown_beside_its_rivals():
    times = {"median": 0.5, "min": 0.4, "max": 0.6}
    learned = {"cost": 9.0, "cost_std": 0.1}
    trained = {"name": "batched", "seconds": times, "last_batches": learned}
    slower = trained | {"seconds": {"median": 1.0, "min": 1.0, "max": 1.0}}
    stepped = {"episodes": 1000, "steps": 10_000, "seconds": times}
    swept = {"runs": 10, "lanes": 5, "train_seconds": 2.0, "seconds_in_all": 3.0, "episodes_per_second": 60.0}
    profile = {"kernels": 400, "copies": 20, "busy_seconds": 0.1}
    updated = {"path": "general", "updates": 10, "seconds": times, "launches_counted": 41, "profile": profile}
    parts = [
        {"part": "training", "place": "gpu", "device": "gpu: H100", "rows": [trained]},
        {"part": "torch_training", "place": "gpu", "device": "NVIDIA H100", "rows": [slower]},
        {"part": "stepping", "place": "cores", "device": "cpu", "rows": [stepped]},
        {"part": "sweep", "place": "gpu", "device": "gpu: H100", "rows": [swept]},
        {"part": "kernel", "place": "gpu", "failed": "no"},
        {"part": "updates", "place": "gpu", "device": "gpu: H100", "rows": [updated], "revision": "0ld"},
    ]
    zeroth, first, second, third = measured.tables({"sizes": {"episodes": 12_000}, "cores": 2, "parts": parts})
    assert [line[:2] + line[3:4] for line in first.rows] == [
        ("aljax", "gpu: H100", "1"), ("PyTorch, batched", "NVIDIA H100", "2")
    ]  # fmt: skip
    assert zeroth.rows == [("general path, revision 0ld", "41", "42", "50000 [40000, 60000]", "20 %")]
    assert second.rows == [("aljax", "2 processor cores", "1,000", "0.02")]
    assert third.rows == [("gpu: H100", "10", "5", "2", "3", "60")]


@pytest.mark.parametrize("seeds", [5, 64])
def test_an_update_launches_few_kernels_however_many_seeds(seeds):
    made, _ = programs.update(there("h100"), seeds=seeds)
    assert made.launches and made.launches.open_loop
    assert made.launches.open_loop.total <= 40 and made.launches.open_loop.conditionals == 0


def test_a_rollout_launches_few_kernels():
    made, _ = programs.play(there("h100"))
    assert made.launches and made.launches.total <= 4 and made.launches.conditionals == 0


def there(key):
    """The chip, or a skip with the reason."""
    chip = target.catalogue()[key]
    why = target.missing(chip)
    if why is not None:
        pytest.skip(why)
    return chip


@pytest.mark.parametrize("key", ["h100", "v5e"])
def test_a_function_is_compiled_for_a_chip(key):
    chip = there(key)
    given = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    made = target.compile_for(chip, lambda x: jax.lax.fori_loop(0, 3, lambda _, y: jnp.tanh(y @ x), x), given)
    assert made.memory["arguments"] >= 64 * 64 * 4 and made.bytes >= 2 * 64 * 64 * 4
    assert (made.launches is None) == (chip.platform == "tpu")
    if made.launches is not None:
        assert made.launches.total >= 3 and made.launches.conditionals == 0
