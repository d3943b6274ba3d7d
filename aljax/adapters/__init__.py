"""aljax's environments inside other people's libraries: a file a library, which is imported when it is used.

`gymnasium` (``Env``, ``VectorEnv``), `gymnax` and, for what anybody's agent comes to beside the optimum, `evaluate`. A
library's extra is called as the library is: ``pip install 'aljax[gymnasium]'``.
"""

from aljax.adapters.evaluation import evaluate as evaluate
