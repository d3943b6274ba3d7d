"""What the commands share: what they do with an experiment's result."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from aljax import report, tables
from aljax.comparison import Compared
from aljax.drawing import pyplot
from aljax.errors import UserError
from aljax.experiment import RunResult, UnsavedError
from aljax.host import files
from aljax.host.terminal import styled
from aljax.robust import robust_table
from aljax.rules.words import warnings
from aljax.scenario import Scenario
from aljax.tails import tail_table


def show(console: Console, scenario: Scenario, result: Compared | RunResult, no_optimum: str) -> None:
    """The tables, and why there is no optimum to compare with if there is none."""
    tables.show(console, report.metric_tables(scenario, result.summaries, breaker=result.breaker))
    if isinstance(result, RunResult) and result.tails is not None:
        tables.show(console, [tail_table(result.tails)])
    if isinstance(result, RunResult) and result.robust is not None:
        tables.show(console, [robust_table(result.robust)])
    for line in warnings(scenario):
        console.print(f"Warning: {line}.", soft_wrap=True)
    if no_optimum:
        console.print(f"No gap to the optimum: {no_optimum}.")


def json(path: Path | None, figures: Mapping[str, Any]) -> tuple[Callable[[], None], ...]:
    """What writes the figures where they were asked for, if they were."""
    return () if path is None else (lambda: files.write_json(path, figures),)


def finished(run: Callable[[], RunResult]) -> tuple[RunResult, tuple[Callable[[], None], ...]]:
    """Runs an experiment. One that could not be written is shown all the same, and complained of in the end.

    Args:
      run: the experiment.

    Returns:
      What it came to, and for `aljax.host.terminal.deliver` what complains.
    """
    try:
        return run(), ()
    except UnsavedError as trouble:
        unsaved = trouble

    def complain() -> None:
        raise unsaved

    return unsaved.result, (complain,)


def written(result: RunResult) -> tuple[str | Text, ...]:
    """Where a folder was written, and why not where it was asked for."""
    if result.folder is None:
        return ("Nothing was written.",)
    why = (f"({result.notice})",) if result.notice else ()
    return ("Written to", styled(result.folder, "bold"), *why)


def can_draw(console: Console) -> bool:
    """Says before the work that there will be no pictures, where there can be none."""
    try:
        pyplot()
    except UserError as error:
        console.print(f"No pictures: {error}", soft_wrap=True)
        return False
    return True
