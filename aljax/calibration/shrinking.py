"""Empirical Bayes on grids: rows of a table tell each other what numbers like theirs are like.

Each row has a likelihood on a grid of values. The values are drawn from one of many priors, of which the likeliest
given all rows together (maximum marginal likelihood) is found. Since few rows do not tell it from its neighbours, and
intervals would be too narrow (Morris, 1983, "Parametric empirical Bayes inference"), priors are averaged over in
proportion to that likelihood.
"""

import dataclasses

import numpy as np

TAIL = 0.025
"""Of the posterior, on either side of an interval."""


@dataclasses.dataclass(frozen=True)
class Posterior:
    """What R rows' values are, on a grid of G."""

    grid: np.ndarray
    """Ascending. ``[G]``"""
    weights: np.ndarray
    """How likely. ``[R, G]``"""
    prior: int
    """The likeliest one's number."""
    forms: np.ndarray
    """How likely each form of the likelihoods is. ``[K]``"""

    @property
    def means(self) -> np.ndarray:
        """Of each row. ``[R]``"""
        return self.weights @ self.grid

    def quantile(self, share: float) -> np.ndarray:
        """Where so much of each row's posterior lies below.

        Args:
          share: on [0, 1].

        Returns:
          Values of the grid. ``[R]``
        """
        below = np.cumsum(self.weights, 1) < share - 1e-12
        return self.grid[np.minimum(below.sum(1), len(self.grid) - 1)]

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Values drawn from the posterior.

        Args:
          rng: the chance.
          count: how many of each row.

        Returns:
          ``[R, count]``.
        """
        cumulated = np.cumsum(self.weights, 1)
        place = [np.searchsorted(row, rng.random(count)) for row in cumulated]
        return self.grid[np.minimum(np.array(place).reshape(len(cumulated), count), len(self.grid) - 1)]


def shrink(grid: np.ndarray, likelihoods: np.ndarray, priors: np.ndarray, forms: np.ndarray | None = None) -> Posterior:
    """The posterior of every row.

    Args:
      grid: of values. ``[G]``
      likelihoods: the logarithm of each row's, ``[R, G]``; or several forms of it, ``[K, R, G]``, of which one holds
        for all rows and is found out like a prior: prior h of form k is then number ``k H + h``.
      priors: probabilities of the grid's values. ``[H, G]``
      forms: how likely each form is before any data; None: all alike. ``[K]``

    Returns:
      The posterior.
    """
    likelihoods = likelihoods[None] if likelihoods.ndim == 2 else likelihoods
    highest = likelihoods.max(2, keepdims=True)
    scaled = np.exp(likelihoods - highest)  # [K, R, G]
    marginal = np.maximum(scaled @ priors.T, 1e-300)  # [K, R, H]
    evidence = (np.log(marginal) + highest).sum(1)  # [K, H]
    if forms is not None:
        evidence += np.log(forms)[:, None]
    evidence = evidence.ravel()
    best = int(np.argmax(evidence))
    chance = np.exp(evidence - evidence[best])
    chance /= chance.sum()
    weights = np.zeros(likelihoods.shape[1:])
    for form, (own, shares) in enumerate(zip(scaled, chance.reshape(len(scaled), -1), strict=True)):
        weights += own * ((shares / marginal[form]) @ priors)
    shares = chance.reshape(len(scaled), -1).sum(1)
    return Posterior(grid, weights / weights.sum(1, keepdims=True), best, shares)
