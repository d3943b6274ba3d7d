"""What adapters must give alike: nested dictionaries, lists and arrays, to the last bit."""

import importlib
import os

import numpy as np
import pytest


def library(name, extra):
    """The library of an extra, without which tests are skipped, unless they are run for it alone."""
    if os.environ.get("ALJAX_LIBRARY") == extra:
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"needs the extra {extra}, as make adapters has it")


def check_alike(found, wanted, where=""):
    """Types, keys, shapes and bits are the same."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and found.keys() == wanted.keys(), (where, found.keys(), wanted.keys())
        for key in wanted:
            check_alike(found[key], wanted[key], f"{where}/{key}")
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted), where
        for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
            check_alike(one, other, f"{where}/{i}")
    elif isinstance(wanted, np.ndarray) and wanted.dtype != object:
        assert isinstance(found, np.ndarray) and found.dtype == wanted.dtype and found.shape == wanted.shape, where
        assert found.tobytes() == wanted.tobytes(), (where, found, wanted)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == object and found.shape == wanted.shape, where
        check_alike(list(found), list(wanted), where)
    else:
        assert type(found) is type(wanted) and found == wanted, (where, found, wanted)


def arrays(tree):
    """All arrays of nested dictionaries, lists and tuples."""
    if isinstance(tree, np.ndarray) and tree.dtype != object:
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for each in tree for leaf in arrays(each)] if isinstance(tree, (list, tuple, np.ndarray)) else []
