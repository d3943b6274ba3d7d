"""``python -m aljax`` is ``aljax``."""

import sys

from aljax.commands.main import main

sys.exit(main())
