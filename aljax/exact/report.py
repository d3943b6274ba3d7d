"""Tables of the exact optimum, and of bounds on it."""

from rich.table import Table

from aljax.env import COMPONENTS
from aljax.evaluate import Summary
from aljax.exact.bracket import Bracket
from aljax.exact.constrained import ConstrainedBound
from aljax.exact.cvar import TailBound
from aljax.exact.policy import Path
from aljax.report import about, figures_of, of_seeds, percent
from aljax.scenario import Scenario
from aljax.tables import in_short, new_table


def optimal_table(scenario: Scenario, exact: Summary, rolled_out: Summary | None) -> Table:
    """The exact optimum and, for comparison, what following it came to in as many episodes.

    Args:
      scenario: where.
      exact: expectations over luck.
      rolled_out: of as many episodes played; None: there were none.

    Returns:
      The table.
    """
    rows = {"expected": exact} | ({} if rolled_out is None else {"rolled out": rolled_out})
    table = new_table(f"The exact optimum: {about(scenario)}, {of_seeds(rows.values())}", False)
    for column in ("", "cost", "success", *COMPONENTS):
        table.add_column(column, justify="right" if column else "left")
    for name, summary in rows.items():
        table.add_row(name, *figures_of(summary, ("cost", "success", *COMPONENTS)))
    return table


def path_table(scenario: Scenario, path: Path) -> Table:
    """The optimal actions from one start, as long as none fails.

    Args:
      scenario: whose names.
      path: as `aljax.exact.policy.optimal_path` gives it.

    Returns:
      The table, a row a step.
    """
    start = ", ".join(f"{name} {in_short(x)}" for name, x in zip(scenario.coordinate_names, path.z[0], strict=True))
    solution = path.solution
    expected = f"expected cost {float(solution.value[0]):.4f}, success {float(solution.success[0]):.4f}"
    table = new_table(f"Optimal actions from {start}, as long as none fails ({expected})", False)
    for column in ("step", "action", *scenario.coordinate_names):
        table.add_column(column, justify="left" if column == "action" else "right")
    for step, (action, z) in enumerate(zip(path.actions, path.z[1:], strict=True), 1):
        table.add_row(str(step), scenario.action_names[action], *map(in_short, z))
    return table


def bracket_table(scenario: Scenario, found: Bracket) -> Table:
    """A lower and an upper bound on the optimum's cost.

    Args:
      scenario: where.
      found: the bounds.

    Returns:
      The table.
    """
    table = new_table(f"Bounds on the optimal expected cost: {about(scenario)}", False)
    for column in ("bound", "cost [95 % CI]", "from"):
        table.add_column(column, justify="right" if "CI" in column else "left")
    table.add_row("lower", str(found.lower), "information relaxation: no policy costs less on average")
    table.add_row("upper", str(found.upper), f"the best policy found: {found.policy}")
    table.add_row("between them", f"{percent(found.gap)} %", "of the lower bound, paired start by start")
    return table


def constrained_table(scenario: Scenario, found: ConstrainedBound) -> Table:
    """What keeping promises costs at least.

    Args:
      scenario: where.
      found: the bound.

    Returns:
      The table, a row a promise.
    """
    what = f"No policy that keeps these promises costs less than {found.bound}"
    table = new_table(f"{what}; the optimum without them {found.free}: {about(scenario)}", False)
    for column in ("promise", "multiplier", "what the optimum at these multipliers comes to"):
        table.add_column(column, justify="left" if column == "promise" else "right")
    for each, price, value in zip(found.constraints, found.multipliers, found.reached, strict=True):
        table.add_row(f"{each.name} ≤ {each.bound:g}", in_short(price), in_short(value))
    return table


def cvar_table(scenario: Scenario, found: TailBound) -> Table:
    """How low the mean of the worst share of episodes can be.

    Args:
      scenario: where.
      found: the bound.

    Returns:
      The table.
    """
    table = new_table(f"The mean cost of the worst {100 * found.alpha:g} % of episodes: {about(scenario)}", False)
    for column in ("CVaR", "cost [95 % CI]", "of"):
        table.add_column(column, justify="right" if "CI" in column else "left")
    table.add_row("lower", str(found.bound), "no policy's is less")
    remembers = (
        f"the best policy for a threshold of {found.threshold:.4g}, which knows what the episode has cost so far"
    )
    table.add_row("attained", str(found.attained), remembers)
    return table
