"""aljax's environments inside other people's libraries: a file a library, which is imported when it is used.

`gymnasium` (``Env``, ``VectorEnv``), `gymnax`, `sb3` (``VecEnv``), `dm_env` (``Environment``) and, for what anybody's
agent comes to beside the optimum, `evaluate`. An extra is called as its file is: ``pip install 'aljax[gymnasium]'``.
"""

from aljax.adapters.evaluation import evaluate as evaluate
