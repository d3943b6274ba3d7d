"""What is said of programs for chips that are not there: launches as counted, and, with the plugins, real programs."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chips import launches, target

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
