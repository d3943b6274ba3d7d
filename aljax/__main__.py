"""``python -m aljax`` is ``aljax``."""

from aljax.commands.main import entry

entry()
