"""A policy in another scenario than its own: rows and coordinates are matched by name, scales are those of training.

Scales that a file does not give follow from its other numbers, so a changed latency or horizon would change what the
policy sees even where nothing has happened yet. A scale that an override names is left alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aljax import env
from aljax.errors import UserError, listed, plain
from aljax.fields import fields_of
from aljax.observation import blocks
from aljax.policy import Learned
from aljax.rules.data import Rules
from aljax.scenario import Scenario

_SCALES = {"task": "z_scale", "latency": "latency_scale", "money": "money_scale"}
"""What parts of an observation are divided by."""


def as_seen(own: Scenario, trained: str, scenario: Scenario) -> Scenario:
    """A scenario as a policy learned to see it: rows and coordinates in its order, on its scales.

    Args:
      own: what the policy was trained on.
      trained: the run, for messages.
      scenario: of the same actions and coordinates, in any order.

    Returns:
      The scenario rearranged.

    Raises:
      UserError: it has others.
    """
    scenario = _in_order(scenario, *_order(own, trained, scenario))
    return dataclasses.replace(scenario, params=dataclasses.replace(scenario.params, **_scales(own, scenario)))


def policy_in(policy: Learned, own: Scenario, trained: str, scenario: Scenario) -> Learned:
    """A policy as it plays in a scenario as it is: in its order, on its scales. The reverse of `as_seen`.

    Inputs and outputs of the network are put in the scenario's order, and its first weights take what differs in the
    scales, so its choices are the same.

    Args:
      policy: a leading seed axis on every array.
      own: what it was trained on.
      trained: the run, for messages.
      scenario: of the same actions and coordinates, in any order.

    Returns:
      The policy, the same object where nothing differs.

    Raises:
      UserError: it has others.
    """
    rows, coordinates = _order(own, trained, scenario)
    scales = _scales(own, scenario, coordinates)
    inputs, factors = _places(policy, own, scenario, {"d": np.argsort(coordinates), "A": np.argsort(rows)}, scales)
    if (factors == 1).all() and np.array_equal(inputs, np.arange(policy.inputs.size(own.params))):
        return policy
    found = policy.architecture.rearranged(policy.variables, inputs, factors, np.argsort(rows))
    return dataclasses.replace(policy, variables=found)


def _places(
    policy: Learned, own: Scenario, scenario: Scenario, orders: Mapping[str, np.ndarray], scales: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Which of a network's inputs is each number that it is shown in a scenario, and what that is multiplied by.

    What it was never shown in training is multiplied by 0; what it is not shown any more is left out.

    Args:
      policy: whose network.
      own: what it was trained on.
      scenario: where it is to play.
      orders: by axis, which of the own one's coordinates or rows is each of the scenario's.
      scales: those that it learned on, as `_scales` gives them.

    Returns:
      Integers and factors, one an input in the scenario.
    """
    known, actions, ruled = env.places(own.params), len(orders["A"]), _rules(own, scenario)
    inputs, factors = [], []
    for name, axis in blocks(env.present(scenario.params)).items():
        if name in ruled:
            order, factor = ruled[name]
        else:
            order, scale = orders.get(axis, np.zeros(1, int)), _SCALES.get(name, "")
            factor = getattr(scenario.params, scale) / scales[scale] if scale in scales else 1.0
        inputs.append(order + known[name].start if name in known else np.zeros_like(order))
        factors.append(np.broadcast_to(factor if name in known else 0.0, order.shape))
    appended = range(env.observation_size(own.params), policy.inputs.size(own.params), actions)
    inputs += [orders["A"] + start for start in appended]
    factors += [np.ones(actions) for _ in appended]
    return np.concatenate(inputs), np.concatenate(factors).astype(np.float32)


def _rules(own: Scenario, scenario: Scenario) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where in the own observation's parts of rules each number of a scenario's stands, and what it is multiplied by.

    A rule is the same one if it says the same of rows of the same names, whatever it is called.
    """
    before, rules = own.params.rules, scenario.params.rules
    if before is None or rules is None:
        return {} if rules is None else {name: _nothing(size) for name, size in _sizes(rules).items()}
    places, same = np.cumsum([0, *(each.states for each in before.structure.automata)]), _as_said(own)
    hots, lasts = [], []
    for i, key in enumerate(_as_said(scenario)):
        states, there = rules.structure.automata[i].states, key in same
        j = same.index(key) if there else 0
        hots.append((places[j] + np.arange(states), np.ones(states)) if there else _nothing(states))
        if rules.structure.each[i].timed and rules.seconds is not None:
            k = rules.structure.timed.index(i)
            if there and before.seconds is not None:
                other = before.structure.timed.index(j)
                lasts.append((np.array([other]), np.asarray(rules.seconds[k] / before.seconds[other])[None]))
            else:
                lasts.append(_nothing(1))
    joined = {"rules": hots} | ({"cooldowns": lasts} if lasts else {})
    return {
        name: (np.concatenate([at for at, _ in parts]), np.concatenate([by for _, by in parts]))
        for name, parts in joined.items()
    }


def _nothing(size: int) -> tuple[np.ndarray, np.ndarray]:
    """So many numbers that were never shown in training."""
    return np.zeros(size, int), np.zeros(size)


def _sizes(rules: Rules) -> dict[str, int]:
    """Numbers of the observation's parts of rules."""
    timed = len(rules.structure.timed)
    return {"rules": rules.structure.shown} | ({"cooldowns": timed} if timed else {})


def _as_said(scenario: Scenario) -> list[tuple[Any, ...]]:
    """What each rule of a scenario says, of rows by name."""
    assert scenario.params.rules is not None
    names = scenario.action_names
    return [
        (rule.template, names[rule.a], "" if rule.b is None else names[rule.b], rule.n, rule.on_call, rule.timed)
        for rule in scenario.params.rules.structure.each
    ]


def _order(own: Scenario, trained: str, scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """Where a scenario has each of the own one's rows and each of its coordinates."""
    found = []
    for kind in ("action", "coordinate"):
        names, others = (getattr(each, f"{kind}_names") for each in (own, scenario))
        if set(names) != set(others):
            raise UserError(
                f"{plain(scenario.name)}: {kind}s {listed(others, 160)}; but {trained} was trained on "
                f"{plain(own.name)}, with {listed(names, 160)}"
            )
        found.append(np.array([others.index(name) for name in names]))
    return found[0], found[1]


def _scales(own: Scenario, scenario: Scenario, coordinates: np.ndarray | None = None) -> dict[str, jax.Array]:
    """The scales that the policy learned on, but for those that an override names, by name.

    Args:
      own: what it was trained on.
      scenario: whose overrides.
      coordinates: where it has each of the own one's coordinates; none: in the same order.
    """
    named = {change.first for change in scenario.changes}
    names = (name for name in _SCALES.values() if name not in named)
    scales = {name: getattr(own.params, name) for name in names}
    if coordinates is not None and "z_scale" in scales:
        scales["z_scale"] = scales["z_scale"][np.argsort(coordinates)]
    return scales


def _in_order(scenario: Scenario, rows: np.ndarray, coordinates: np.ndarray) -> Scenario:
    """A scenario with its rows and coordinates in another order."""
    orders = {"A": rows, "d": coordinates}

    def moved(part: Any) -> Any:
        found = {}
        for name, field in fields_of(type(part)).items():
            values = getattr(part, name)
            if values is not None and orders.keys() & set(field.axes):
                for place, axis in enumerate(field.axes):
                    values = np.take(np.asarray(values), orders[axis], place) if axis in orders else values
                found[name] = jax.device_put(values)
        return dataclasses.replace(part, **found)

    params, rules = scenario.params, scenario.params.rules
    if rules is not None:
        rules = dataclasses.replace(rules, structure=rules.structure.reordered(rows.tolist()))
    return dataclasses.replace(
        scenario,
        params=dataclasses.replace(moved(params), actions=moved(params.actions), rules=rules),
        action_names=tuple(scenario.action_names[i] for i in rows),
        coordinate_names=tuple(scenario.coordinate_names[i] for i in coordinates),
        kinds=tuple(scenario.kinds[i] for i in rows),
    )
