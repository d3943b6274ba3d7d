"""Prices are what the user declares, and one line where they cannot be."""

import pytest

from aljax.calibration.prices import read_prices
from aljax.errors import UserError


def test_prices_are_dollars_a_million_tokens_by_model(tmp_path):
    (tmp_path / "p.toml").write_text('["gpt-9"]\ninput = 2\noutput = 8.5\n')
    prices = read_prices(tmp_path / "p.toml")
    assert prices.dollars({"model": "gpt-9", "in_tokens": 500_000, "out_tokens": 1}, "me") == pytest.approx(1.0000085)
    assert prices.dollars({"in_tokens": 100}, "gpt-9") == pytest.approx(2e-4)
    assert prices.dollars({"model": "gpt-8", "in_tokens": 1}, "me") is None and prices.dollars({}, "gpt-9") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prices: expected a table a model"),
        ("m = 1\n", "'m': expected a table with input and output, got 1"),
        ("[m]\ninput = 1\n", "'m': output is missing"),
        ("[m]\ninput = -1\noutput = 1\n", "'m': input: expected a number not below 0, got -1"),
        ("[m]\ninput = 1\noutput = 1\ncached = 1\n", "'m': unknown cached: expected input and output"),
        ("[m\n", "p.toml: "),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, text, message):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UserError) as error:
        read_prices(tmp_path / "p.toml")
    assert message in str(error.value) and "\n" not in str(error.value)
