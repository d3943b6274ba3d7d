"""How pictures are drawn, with matplotlib (the extra ``plot``), whatever they show."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.errors import UserError, one_line, plain_path
from aljax.host import files, modules
from aljax.host.terminal import visible
from aljax.scenario import Scenario

GRID = 61
"""Points along each side of a map over two coordinates."""
OTHER = "0.75"
"""The colour of all actions without one of their own."""
_MOST_NAMED = 12  # actions with a colour of their own; the eye tells no more apart
_MODULES = ("matplotlib.pyplot", "matplotlib.backends.backend_agg")
_LETTER = 0.075  # inches, of a legend's text


def pyplot() -> Any:
    """Imports matplotlib for drawing without a screen.

    Returns:
      The module `matplotlib.pyplot`.

    Raises:
      UserError: it is not there, or its parts do not go together.
    """
    modules.wait_loaded(*_MODULES)
    _quieten()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matplotlib

            matplotlib.use("Agg")
            import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise UserError("plots need matplotlib: pip install 'aljax[plot]', or leave them out with --no-plots") from None
    except Exception as error:  # whatever a broken installation or environment raises
        raise UserError(f"matplotlib cannot be loaded: {one_line(error) or type(error).__name__}") from None
    plt.rcParams.update(
        {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 120, "font.size": 9, "text.usetex": False}
    )
    return plt


def load_ahead() -> None:
    """Loads matplotlib while something else goes on; see `aljax.host.modules.load_ahead`."""
    _quieten()
    modules.load_ahead(*_MODULES)


def _quieten() -> None:
    log = logging.getLogger("matplotlib")
    if log.level == logging.NOTSET:
        log.setLevel(logging.ERROR)  # a cache that cannot be written, a font that is missing: the picture is drawn


def check_figure(path: Path) -> None:
    """Refuses a picture that is asked for by name, before the work.

    Args:
      path: the file asked for.

    Raises:
      UserError: no name of a PNG file, or no matplotlib.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"figure: expected a file that ends in .png, got {plain_path(path)}")
    pyplot()


def draw_all(drawings: Mapping[Path, Callable[[Path], None]]) -> list[str]:
    """Draws pictures, each whole or not at all; one that fails costs itself only.

    Args:
      drawings: by the PNG file to make, what draws it to the path that it is given.

    Returns:
      A complaint a picture that could not be drawn, or a single one where none can: a line each.
    """
    try:
        plt = pyplot()
    except UserError as error:
        return [f"no pictures: {error}"]
    complaints, before = [], set(plt.get_fignums())
    for place, drawing in drawings.items():
        try:
            with warnings.catch_warnings(), files.whole_file(place) as file:
                warnings.simplefilter("ignore")  # such as a glyph that no font has
                drawing(file)
        except Exception as error:  # whatever matplotlib raises: results are worth more than their pictures
            complaints.append(f"{place} could not be drawn: {type(error).__name__}: {one_line(error)}")
        for left in set(plt.get_fignums()) - before:
            plt.close(left)
    return complaints


def label(text: object, most: int = 40) -> str:
    """Text of the user's for a picture: as it is written, on one line, a long one shortened in the middle.

    Args:
      text: a name; a dollar would begin a formula.
      most: characters.

    Returns:
      What matplotlib shows as that text.
    """
    line = visible(str(text)).replace("\n", "\\n")
    if len(line) > most:
        line = f"{line[: most - most // 3 - 1]}…{line[-(most // 3) :]}"
    return line.replace("$", "\\$")


def named_rows(shares: np.ndarray, *, unplayed: bool = True) -> list[int]:
    """Rows that get a colour and a name: all where they are few, else those that are played most, in their order.

    Args:
      shares: how much each row is played. ``[A]``
      unplayed: few rows have a name whether they are played or not.

    Returns:
      At most `_MOST_NAMED` rows.
    """
    if unplayed and len(shares) <= _MOST_NAMED:
        return list(range(len(shares)))
    most = np.argsort(-shares, kind="stable")[:_MOST_NAMED]
    return sorted(int(row) for row in most if shares[row] > 0)


def colours_of(plt: Any, named: Sequence[int], rows: int) -> np.ndarray:
    """A colour a row of the table, the strong ones first, and one for all that have no name. ``[A, 4]``

    Args:
      plt: as `pyplot` gives it.
      named: rows with a colour of their own, as `named_rows` gives them.
      rows: A, how many the table has.

    Returns:
      Red, green, blue and opacity on [0, 1]. ``[A, 4]``
    """
    to_rgba = plt.matplotlib.colors.to_rgba
    colours = np.array([to_rgba(OTHER)] * rows)
    strong_first = [*plt.cm.tab20.colors[::2], *plt.cm.tab20.colors[1::2]]
    greys = {plt.cm.tab20.colors[14], plt.cm.tab20.colors[15]} if len(named) < rows else set()
    palette = [colour for colour in strong_first if colour not in greys]
    for place, row in enumerate(named):
        colours[row] = to_rgba(palette[row if rows <= _MOST_NAMED else place])
    return colours


def legend_below(
    figure: Any, plt: Any, scenario: Scenario, named: Sequence[int], colours: np.ndarray, *, others: bool | None = None
) -> None:
    """Which colour is which action, below the panels, in as many columns as the names leave room for.

    Args:
      figure: matplotlib's.
      plt: as `pyplot` gives it.
      scenario: whose actions.
      named: rows that are named.
      colours: a colour a row. ``[A, 4]``
      others: whether some are shown that have no name; None: if there are any.
    """
    names = [label(scenario.action_names[row], 30) for row in named]
    shown = [colours[row] for row in named]
    if others if others is not None else len(named) < len(scenario.action_names):
        rest = len(scenario.action_names) - len(named)
        names.append(f"other ({rest} action{'s' * (rest > 1)})")
        shown.append(OTHER)
    width = _LETTER * max(map(len, names)) + 0.6
    columns = max(1, min(6, len(names), int(figure.get_figwidth() / width)))
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in shown]
    figure.legend(handles, names, ncols=columns, fontsize=8, loc="outside lower center")


def save(figure: Any, path: Path, plt: Any) -> None:
    """Writes a figure and lets go of it.

    Args:
      figure: matplotlib's.
      path: the PNG file.
      plt: as `pyplot` gives it.
    """
    layout = figure.get_layout_engine()
    if layout is not None:  # done here, since with a layout still to do, matplotlib draws everything once more for it
        layout.execute(figure)
        figure.set_layout_engine("none")
    figure.savefig(path)
    plt.close(figure)
