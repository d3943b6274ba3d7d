"""Pictures of a run: names as they are written, many actions."""

import dataclasses
import warnings

import numpy as np
import pytest

from aljax import plots
from aljax.drawing import draw_all
from aljax.env import COMPONENTS
from aljax.evaluate import Evaluation, Spread, Summary
from aljax.promises import Constraint
from aljax.scenario import parse_scenario
from aljax.statistics import Interval
from aljax.train import Curve

NAMES = [
    "ask[user]", "buy$a_$b", "[/x]", "_hidden", "{x}^2", "naïve-😀", "\ue000", "a\\$b", "esc\x1b[31m", "two\nlines",
]  # fmt: skip
LONG = "a tool with a name so long that it would leave no room for anything else in the picture"
HEAD = """
title = "[draft] $a_$b"
coordinates = ["price_$_[a]", "price_$_[b]"]
horizon = 2
start_low = 1.0
start_high = 2.0
tolerance = 0.5
weights = { latency = 1.0, money = 1.0, violation = 1.0, failure = 1.0, divergence = 1.0 }
"""


def scenario_of(names, name="cost $a_$b"):
    rows = "".join(f"[actions.a{i}]\nlatency = 1.0\nmoney = 1.0\nshift = -1.0\n" for i in range(len(names)))
    return dataclasses.replace(parse_scenario(HEAD + rows, name=name, where="test.toml"), action_names=tuple(names))


def summary():
    figures = {name: Spread(1.0, 0.5) for name in COMPONENTS}
    return Summary(Spread(5.0, 0.5), Spread(0.5, 0.25), figures, Interval(5.0, 4.0, 6.0))


def playing(shares):
    """An evaluation of one seed whose policy plays rows in these shares at both steps."""
    return Evaluation(outcome=None, plays=np.repeat(np.array(shares, float)[None, None], 2, axis=1))  # pyright: ignore


@pytest.fixture
def figures(monkeypatch):
    """Figures as they are saved."""
    kept, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path, plt: (kept.append(figure), save(figure, path, plt)))
    return kept


def texts(figure):
    """Every text in a figure, as matplotlib shows it where it is no formula."""
    from matplotlib.cbook import is_math_text
    from matplotlib.text import Text

    found = [text.get_text() for text in figure.findobj(Text)]
    assert not any("$" in text and is_math_text(text) for text in found if "mathdefault" not in text)
    return [text.replace("\\$", "$") for text in found]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text().replace("\\$", "$") for text in found.get_texts()]


SHOWN = [name.replace("\x1b", "\\x1b").replace("\n", "\\n") for name in NAMES]


@pytest.mark.parametrize("picture", ["learning_curves", "components", "choices", "losses"])
def test_names_are_shown_as_they_are_written(picture, figures, tmp_path):
    scenario, names = scenario_of(NAMES), [*NAMES, LONG]
    summaries = dict.fromkeys(names, summary())
    curve = Curve(*(np.ones((2, 3)) for _ in range(2)), np.ones((2, 3, 5)), *(np.ones((2, 3)) for _ in range(2)))
    drawings = {
        "learning_curves": lambda path: plots.learning_curves(path, curve, 10, summaries, scenario.name),
        "components": lambda path: plots.components(path, scenario, summaries),
        "choices": lambda path: plots.choices(path, scenario, dict.fromkeys(names, playing([0.1] * len(NAMES)))),
        "losses": lambda path: plots.losses(path, np.ones((2, 3)), scenario.name),
    }
    place = tmp_path / "run [v1]" / "it.png"
    place.parent.mkdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert draw_all({place: drawings[picture]}) == []
    assert not caught and place.read_bytes().startswith(b"\x89PNG")
    shown = texts(figures[0])
    assert any(scenario.name in text for text in shown)
    if picture in ("components", "choices"):  # in the others there are only the program's own names
        assert set(SHOWN) <= set(shown)
    if picture == "choices":
        assert legend(figures[0]) == SHOWN


def test_one_seed_has_no_spread(figures, tmp_path):
    one = Curve(*(np.ones((1, 3)) for _ in range(2)), np.ones((1, 3, 5)), *(np.ones((1, 3)) for _ in range(2)))
    alone = dataclasses.replace(summary(), cost_iqm=Interval(5.0, np.nan, np.nan))
    plots.learning_curves(tmp_path / "l.png", one, 10, {"random": alone}, "it")
    assert {"the seed", "it: training, 1 seed"} <= set(texts(figures[0])) and not figures[0].axes[0].collections
    for each, bars in ((alone, 0), (summary(), 1)):
        plots.components(tmp_path / "c.png", scenario_of(["a"]), {"random": each})
        (errors,) = figures[-1].axes[0].collections
        assert sum(len(segment) > 0 for segment in errors.get_segments()) == bars


def test_promises_are_drawn_beside_their_bounds(figures, tmp_path):
    plain = Curve(*(np.ones((2, 3)) for _ in range(2)), np.ones((2, 3, 5)), *(np.ones((2, 3)) for _ in range(2)))
    promised = np.arange(12.0).reshape(2, 3, 2)
    curve = plain._replace(multipliers=10 * promised, promised=promised)
    constraints = [Constraint("money", 0.5), Constraint("latency", 0.05, 12.0)]
    plots.learning_curves(tmp_path / "l.png", curve, 10, {"random": summary()}, "it", constraints)
    panels = {axis.get_title(): axis for axis in figures[0].axes}
    assert len(figures[0].axes) == 15
    for k, (name, bound) in enumerate({"E[money]": 0.5, "P(latency > 12)": 0.05}.items()):
        median, level = panels[f"{name}, average of past batches"].lines
        np.testing.assert_array_equal(median.get_ydata(), np.median(promised[..., k], axis=0))
        assert set(level.get_ydata()) == {bound}
        (median,) = panels[f"multiplier of {name}"].lines
        np.testing.assert_array_equal(median.get_ydata(), np.median(10 * promised[..., k], axis=0))
    plots.learning_curves(tmp_path / "l.png", plain, 10, {"random": summary()}, "it")
    assert len(figures[1].axes) == 9


def test_policies_whose_names_are_shortened_to_the_same_have_bars_of_their_own(figures, tmp_path):
    names = [f"{'x' * 50}{number}{'y' * 50}" for number in range(2)]
    plots.components(tmp_path / "c.png", scenario_of(["a", "b"]), dict.fromkeys(names, summary()))
    bars = figures[0].axes[0].patches
    assert sorted({bar.get_y() + bar.get_height() / 2 for bar in bars}) == [0, 1]


@pytest.mark.parametrize("actions", [13, 40, 300])
def test_of_many_actions_the_most_played_are_named_and_the_rest_are_others(actions, figures, tmp_path):
    scenario = scenario_of([f"tool_{i}" for i in range(actions)])
    many = np.linspace(1, 2, actions)
    one = np.eye(actions)[0]  # the row that the others play least
    evaluations = {"even": playing(many / many.sum()), "single": playing(one)}
    plots.choices(tmp_path / "c.png", scenario, evaluations)
    named = ["tool_0", *(f"tool_{i}" for i in range(actions - 11, actions))]
    others = actions - 12
    assert legend(figures[0]) == [*named, f"other ({others} action{'s' * (others > 1)})"]
    colours = [tuple(handle.get_facecolor()) for handle in figures[0].legends[0].legend_handles]
    assert len(set(colours)) == 13
    for axis in figures[0].axes:
        heights = np.array([layer.get_data().values - layer.get_data().baseline for layer in axis.patches])
        np.testing.assert_allclose(heights.sum(0), 1)  # what is merged is counted
    box = figures[0].legends[0].get_window_extent()
    assert all(not box.overlaps(axis.get_window_extent()) for axis in figures[0].axes)
    assert box.x0 >= 0 and box.x1 <= figures[0].bbox.x1


def test_few_actions_are_all_named_whether_they_are_played_or_not(figures, tmp_path):
    plots.choices(tmp_path / "c.png", scenario_of(["a", "b", "c"]), {"it": playing([0, 1, 0])})
    assert legend(figures[0]) == ["a", "b", "c"]
