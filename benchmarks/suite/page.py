"""Tables and plots."""

import json
from typing import Any


def show(receipt: dict[str, Any], console: Any) -> None:
    """x"""
    for n, s in receipt["sections"].items():
        for r in s.get("rows", []):
            console.print(
                n,
                r["name"],
                r.get("variant"),
                r.get("where"),
                r.get("horizon"),
                f"{r.get('steps_per_second', 0) / 1e6:.2f} M/s",
                r["seconds"]["median"],
                f"{r.get('times_aljax', 0):.2f}",
                r.get("reached"),
                r.get("last_batches"),
            )
