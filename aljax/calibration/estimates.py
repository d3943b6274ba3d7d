"""What is known of a number of the scenario: its value, how sure it is, and where it comes from."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One number."""

    value: float
    """What the scenario takes."""
    low: float = math.nan
    """The interval's lower end, at the 95 % level; NaN: there is none."""
    high: float = math.nan
    """Its upper end."""
    raw: float = math.nan
    """What the log says of this row alone; NaN: nothing."""
    count: int = 0
    """Of calls that say it."""
    source: str = ""
    """In words: logged, shrunk, declared or assumed, and from what."""

    def to_json(self) -> dict[str, Any]:
        """What is not known as null."""
        found = dataclasses.asdict(self)
        return {name: None if isinstance(x, float) and math.isnan(x) else x for name, x in found.items()}
