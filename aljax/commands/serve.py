"""The command ``aljax serve``."""

from rich.console import Console

from aljax.commands.options.serve import Serve
from aljax.errors import UserError
from aljax.integrations.mcp import server
from aljax.router import Router, RouterError


def run(options: Serve, console: Console) -> None:
    """Serves until the client goes; what it prints is the protocol's, and nothing else may be printed."""
    del console
    path = options.folder / "router.json" if options.folder.is_dir() else options.folder
    try:
        served = server(Router.load(path, log=options.log, sample=options.sample), mode=options.mode)
    except (ImportError, RouterError) as error:
        raise UserError(str(error)) from None
    served.run("stdio")
