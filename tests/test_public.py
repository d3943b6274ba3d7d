"""The public face: every name is there, documented, typed, and loaded only where it is used."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import jax
import pytest

import aljax
from aljax.options import TrainConfig

from tiny import tiny_scenario

FACE = Path(aljax.__file__)


@pytest.mark.parametrize("name", [name for name in aljax.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name):
    found = getattr(aljax, name)
    assert len(inspect.getdoc(found) or "") > 20
    assert name in dir(aljax) and re.search(rf"`{name}`", aljax.__doc__)


def test_what_is_listed_is_what_type_checkers_see():
    stub = ast.parse(FACE.with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(aljax.__all__) - {"__version__"} and sorted(aljax.__all__) == aljax.__all__


def test_importing_loads_nothing_that_takes_time():
    heavy = "{'jax', 'numpy', 'scipy', 'flax', 'optax', 'rich', 'tyro', 'matplotlib'}"
    script = f"import sys, aljax; dir(aljax); aljax.TrainConfig; print({heavy} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


def test_what_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'aljax' has no attribute 'trian'"):
        _ = aljax.trian


def test_train_rollout_and_evaluate_are_modules_and_functions():
    from aljax.evaluate import Evaluation
    from aljax.rollout import play
    from aljax.train import Curve

    scenario = tiny_scenario()
    numbers = (jax.random.key(0), aljax.Hyperparameters(), scenario.params)
    weights, curve = aljax.train(*numbers, config=TrainConfig(episodes=40, batch=20, hidden=(4,)), steps=3)
    assert isinstance(curve, Curve) and jax.tree.leaves(weights)
    policy = aljax.heuristics(scenario)["random"]
    played = aljax.rollout(jax.random.key(1), policy, scenario.params, episodes=5, steps=3)
    assert isinstance(played, aljax.Trajectory) and aljax.rollout.play is play
    keys = jax.random.split(jax.random.key(2), 2)
    found = aljax.evaluate(keys, {"it": policy}, scenario.params, trained=frozenset(), episodes=5, steps=3)
    assert isinstance(found["it"], Evaluation)
    for module in (aljax.train, aljax.rollout, aljax.evaluate):
        assert isinstance(module, ModuleType)
        function = getattr(module, module.__name__.removeprefix("aljax."))
        assert inspect.signature(module) == inspect.signature(function)


def functions() -> Iterator[tuple[str, FunctionType]]:
    """The public functions of the library, each where it is written: all but the commands, which are its face."""
    for module in pkgutil.walk_packages(aljax.__path__, "aljax."):
        if module.name.startswith("aljax.commands") or module.name == "aljax.__main__":
            continue
        try:
            names = vars(importlib.import_module(module.name))
        except ImportError:
            assert module.name.startswith("aljax.adapters.")  # of a library that is not installed here
            continue
        for name, found in names.items():
            if not name.startswith("_") and inspect.unwrap(found) is not None and callable(found):
                written = inspect.unwrap(found)
                if isinstance(written, FunctionType) and written.__module__ == module.name:
                    yield f"{module.name}.{name}", written


@pytest.mark.parametrize(("name", "function"), sorted(functions()))
def test_every_public_function_says_what_it_takes_and_gives(name, function):
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    assert text, f"{name} says nothing"
    sections = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    said = {line.strip().partition(":")[0].lstrip("*") for line in sections.splitlines() if line.startswith("  ")}
    missing = set(signature.parameters) - said
    assert not missing, f"{name}: Args: says nothing of {', '.join(sorted(missing))}"
    gives = inspect.formatannotation(signature.return_annotation)
    if gives not in ("None", "Iterator[None]", "collections.abc.Iterator[None]", "NoReturn"):
        assert "\nReturns:\n" in text or "\nYields:\n" in text, f"{name}: says nothing of what it returns"


def test_there_are_many_public_functions():
    assert len(list(functions())) > 150
