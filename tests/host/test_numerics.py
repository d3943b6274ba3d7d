"""What numbers depend on is recorded, and told where it differs."""

import json
import platform

import jax
import pytest

from aljax.host.numerics import difference, numerics


def test_nothing_differs_from_itself_after_a_file():
    assert difference(json.loads(json.dumps(numerics())), numerics()) == ""


def test_versions_platform_and_settings_are_recorded():
    found = numerics()
    assert found["platform"] == "cpu" and found["device"].split()[0] == platform.machine()
    assert {"aljax", "jax", "jaxlib", "numpy"} <= set(found["versions"])
    assert found["settings"]["jax_enable_x64"] == "False"


def test_settings_of_a_block_count_as_those_of_the_process():
    before = numerics()
    with jax.enable_x64(True):
        assert difference(before, numerics()) == "begun with jax_enable_x64 False, this is True"
    with jax.default_prng_impl("rbg"):
        assert difference(before, numerics()) == "begun with jax_default_prng_impl threefry2x32, this is rbg"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--xla_force_host_platform_device_count=3", ""),
        ("--xla_dump_to=/tmp/x --xla_force_host_platform_device_count=3", ""),
        ("--xla_b --xla_a=1", "begun with XLA_FLAGS not set, this is --xla_a=1 --xla_b"),
    ],
)
def test_only_flags_that_can_change_numbers_count(monkeypatch, flags, told):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    before = numerics()
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert difference(before, numerics()) == told


@pytest.mark.parametrize("recorded", [None, 7, [], {}, "text", {"platform": {"a": 1}}, {"platform": None}])
def test_whatever_a_file_says_is_one_line(recorded):
    told = difference(recorded, numerics())
    assert told.startswith("begun with platform ") and told.endswith(", this is cpu")


def test_what_was_another_version_is_named():
    old = numerics()
    old["versions"] = old["versions"] | {"jax": "0.0.1\n" * 300}
    told = difference(old, numerics())
    assert told.startswith("begun with jax 0.0.1") and "\n" not in told and len(told) < 300
