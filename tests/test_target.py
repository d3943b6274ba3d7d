"""What programs are compiled for, and what follows from it."""

import re
from pathlib import Path

import jax
import pytest

import aljax
from aljax.errors import UserError
from aljax.seeds import mesh_of, target_on
from aljax.target import Target, here, target_of

CPU, GPU, TPU = map(target_of, ("cpu", "gpu", "tpu"))
ROOT = Path(aljax.__file__).parents[1]


def test_a_target_is_made_of_any_of_a_platforms_names():
    assert target_of("cuda") == target_of("rocm") == GPU == Target("gpu")
    assert len({CPU, GPU, TPU}) == 3 and CPU != GPU
    with pytest.raises(UserError, match="platform: expected one of cpu, gpu, cuda, rocm, tpu, got abacus"):
        target_of("abacus")


def test_without_a_word_it_is_that_of_the_devices_at_hand():
    assert here() == target_on(mesh_of(1)) == target_of(jax.devices()[0].platform)


def test_what_pays_on_a_cpu_is_left_on_accelerators():
    assert CPU.seeds_in_turn and CPU.stores_by_division and CPU.product_of_rows and CPU.shares_memory
    assert CPU.compiler_options() and CPU.compiler_options(once=True)
    for target in (GPU, TPU):
        assert not (target.seeds_in_turn or target.stores_by_division or target.product_of_rows)
        assert not target.shares_memory and target.compiler_options(once=True) is None
        assert target.block > CPU.block and target.lanes > CPU.lanes and target.starts > CPU.starts


def test_nothing_else_asks_what_the_default_backend_is():
    asking = [
        str(file.relative_to(ROOT))
        for room in ("aljax", "benchmarks", "studies")
        for file in (ROOT / room).rglob("*.py")
        if re.search(r"\bdefault_backend\(", file.read_text(encoding="utf-8"))
    ]
    assert asking == ["aljax/target.py"]
