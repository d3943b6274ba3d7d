"""What tokens cost, where a log has tokens and no dollars."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aljax.errors import UserError, listed, plain_path, short
from aljax.host import toml
from aljax.logs.fields import a_cost, is_cost

_FIELDS = {"input": "in_tokens", "output": "out_tokens"}


@dataclasses.dataclass(frozen=True)
class Prices:
    """Dollars a million tokens, by model."""

    models: Mapping[str, Mapping[str, float]]
    """By a model's name, or a logger's: ``input`` and ``output``."""
    where: str = ""
    """The file, for sources."""

    def dollars(self, step: Mapping[str, Any], logger: str) -> float | None:
        """What a step's tokens cost.

        Args:
          step: of a log.
          logger: who acted.

        Returns:
          Dollars; None: it has no tokens, or its model no price.
        """
        tokens = {price: step[field] for price, field in _FIELDS.items() if step.get(field) is not None}
        prices = self.models.get(step.get("model") or logger)
        if prices is None or not tokens:
            return None
        return sum(prices[price] * count for price, count in tokens.items()) / 1e6


def read_prices(path: str | Path) -> Prices:
    """Reads a table of prices.

    Args:
      path: a TOML file: a table a model, with ``input`` and ``output`` in dollars a million tokens.

    Returns:
      The prices.

    Raises:
      UserError: one line with file and key.
    """
    where = plain_path(path)
    models = toml.parse(toml.read(path), where)
    if not models:
        raise UserError(f"{where}: no prices: expected a table a model, with input and output")
    for name, prices in models.items():
        if not isinstance(prices, dict):
            raise UserError(f"{where}: {short(name)}: expected a table with input and output, got {short(prices)}")
        unknown = sorted(set(prices) - set(_FIELDS))
        if unknown:
            raise UserError(f"{where}: {short(name)}: unknown {listed(unknown)}: expected input and output")
        for field in _FIELDS:
            if field not in prices:
                raise UserError(f"{where}: {short(name)}: {field} is missing: dollars a million tokens")
            if not is_cost(prices[field]):
                raise UserError(
                    f"{where}: {short(name)}: {field}: expected {a_cost(prices[field])}, got {short(prices[field])}"
                )
    return Prices(models, where)
