"""The command ``aljax export``."""

import os
import re

from rich.console import Console

from aljax import runs
from aljax.commands.options.export import Export
from aljax.commands.start import start_jax
from aljax.host.terminal import styled
from aljax.routing.export import FILE, MODULE, Settings, export


def run(options: Export, console: Console) -> None:
    """Chooses the seed, and writes the folder."""
    start_jax()
    folder, seed = str(options.run), None
    before, colon, number = folder.rpartition(":")
    # A folder may have such a name itself. Path.is_dir raises where no folder could have it.
    if colon and re.fullmatch("[0-9]{1,9}", number) and not os.path.isdir(folder):  # noqa: PTH112
        folder, seed = before, int(number)
    settings = Settings(options.margin, options.fallback, options.readings)
    found = export(runs.load(folder), folder, options.out, settings, seed=seed, overwrite=options.overwrite)
    promise = found.promise
    console.print(
        f"Seed {found.seed}: the simulator promises a cost of {promise['cost']:.4f} and a success of "
        f"{promise['success']:.1%} an episode, on average.",
        soft_wrap=True,
    )
    console.print("Written to", styled(found.path, "bold"), soft_wrap=True)
    console.print(f"Check it anywhere: python {found.path / MODULE} --check ({FILE} beside it)", soft_wrap=True)
