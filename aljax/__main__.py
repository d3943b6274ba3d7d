"""``python -m aljax`` is ``aljax``."""

import sys

from aljax.cli import main

sys.exit(main())
