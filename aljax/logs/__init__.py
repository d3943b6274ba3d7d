"""Logs of agents: readers that know nothing of a scenario."""
