"""Every aljax row as a fraction of what the machine could do at best."""

from typing import Any


def add(sections: dict[str, Any]) -> None:
    """x"""
