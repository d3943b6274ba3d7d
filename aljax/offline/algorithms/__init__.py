"""Algorithms that learn a policy from a log, a file each: which networks it has, and their loss.

Data flow one way: common → pessimism → an algorithm → here. The next one is a file with a `Rule`, and its name here and
in `aljax.options`.
"""

from collections.abc import Mapping

from aljax.offline.algorithms import cost_sensitive, cql, fitted_q, gradient, imitation
from aljax.offline.algorithms.common import Rule
from aljax.options import Algorithm

ALGORITHMS: Mapping[Algorithm, Rule] = {
    "imitation": imitation.RULE,
    "cost_sensitive": cost_sensitive.RULE,
    "fitted_q": fitted_q.RULE,
    "cql": cql.RULE,
    "gradient": gradient.RULE,
}
"""By name."""
