"""Modules that load ahead of their use, in a thread."""

import sys

import pytest

from aljax.host import modules


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported; gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)
        modules._loaded.pop(name, None)


def test_what_was_loaded_ahead_is_whole_once_it_was_waited_for(module):
    slow = module("slow_to_load", "import time\ntime.sleep(0.2)\nvalue = 3\n")
    modules.load_ahead(slow)
    modules.wait_loaded(slow)
    assert sys.modules[slow].value == 3


def test_loading_takes_turns_with_tracing(module):
    quick = module("quick_to_load", "value = 3\n")
    with modules.interpreter:
        modules.load_ahead(quick)
        assert not modules._loaded[quick].wait(0.1) and quick not in sys.modules
    modules.wait_loaded(quick)
    assert quick in sys.modules


def test_whoever_uses_a_module_that_cannot_be_loaded_is_told_why(module):
    broken, fine = module("broken_to_load", "raise RuntimeError('of no use')\n"), module("fine_to_load", "")
    modules.load_ahead(broken, fine)
    modules.wait_loaded(broken, fine)
    assert fine in sys.modules
    with pytest.raises(RuntimeError, match="of no use"):
        __import__(broken)


def test_nothing_is_waited_for_that_was_not_asked_for():
    modules.wait_loaded("never_asked_for")
    assert "never_asked_for" not in sys.modules
