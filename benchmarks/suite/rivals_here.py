"""Which rivals are installed, and what to say of one that is not."""

import importlib.util

NEEDS = {"torch": "torch", "numba": "numba", "gymnax": "gymnax", "rejax": "rejax"}
"""The package to install for each rival."""


def there(package: str) -> bool:
    """The package can be imported."""
    return importlib.util.find_spec(package) is not None


def missing(package: str, rows: str) -> dict[str, str]:
    """An entry of a section's ``skipped``: which rows are not there, why, and what would bring them."""
    return {
        "rows": rows,
        "why": f"{package} is not installed",
        "command": f"python -m pip install '{NEEDS.get(package, package)}'",
    }
