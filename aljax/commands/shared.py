"""What the commands share: JAX's start, and what they do with a comparison of policies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.text import Text

from aljax import plots, report
from aljax.experiment import Compared, Trained
from aljax.host import compiling, files, folders, process
from aljax.host.terminal import styled
from aljax.offline.regimes import Learnt
from aljax.scenario import Scenario


def start_jax(*, cores: bool = False) -> None:
    """Finds what earlier processes compiled, and starts JAX.

    Args:
      cores: make each processor core a device.

    Raises:
      UserError: JAX cannot compute here.
    """
    compiling.use_cache()
    if cores:
        compiling.use_cores()
    process.check_jax()


def show(console: Console, scenario: Scenario, compared: Compared, no_optimum: str = "") -> None:
    """The tables, and why there is no optimum to compare with if there is none."""
    report.show(console, report.metric_tables(scenario, compared.summaries))
    if no_optimum:
        console.print(f"No gap to the optimum: {no_optimum}.")


def json(path: Path | None, figures: dict[str, Any]) -> tuple[Callable[[], None], ...]:
    """What writes the figures where they were asked for, if they were."""
    return () if path is None else (lambda: files.write_json(path, figures),)


def tell(console: Console, place: folders.Place) -> None:
    """Says at once if a folder will not be where it was asked for."""
    if place.notice:
        console.print(place.notice, soft_wrap=True)


def written(place: folders.Place) -> tuple[str | Text, ...]:
    """Where a folder was written, and why not where it was asked for."""
    if not place.complete:
        return ("Nothing was written.",)
    why = (f"({place.notice})",) if place.notice else ()
    return ("Written to", styled(place.path, "bold"), *why)


def write_results(folder: Path, scenario: Scenario, compared: Compared, figures: dict[str, Any]) -> None:
    """The tables and the figures, into a folder that is being made."""
    tables = report.metric_tables(scenario, compared.summaries, plain=True)
    (folder / "tables.md").write_text(report.markdown(tables), encoding="utf-8")
    files.write_json(folder / "metrics.json", figures)


def draw(
    place: folders.Place,
    scenario: Scenario,
    compared: Compared,
    policy: Any,
    trained: Trained | Learnt | None = None,
    batch: int = 1,
) -> list[str]:
    """Draws the run's pictures into its folder, and returns complaints; the map of choices is the first seed's."""
    if not place.complete:
        return []
    name, first = scenario.name, jax.tree.map(lambda leaf: np.asarray(leaf)[0], policy)
    drawings: dict[str, Callable[[Path], None]] = {
        "components.png": lambda file: plots.components(file, scenario, compared.summaries),
        "choices.png": lambda file: plots.choices(file, scenario, compared.evaluations, first),
    }
    if isinstance(trained, Learnt):
        drawings["learning_curves.png"] = lambda file: plots.losses(file, trained.losses, name)
    elif trained is not None:
        drawings["learning_curves.png"] = lambda file: plots.learning_curves(
            file, trained.curve, batch, compared.summaries, name
        )
    return plots.draw_all({place.path / name: drawing for name, drawing in drawings.items()})
