"""The parts of ``bench.py``: each measures one thing and returns a section of the receipt."""

PARTS = {
    "stepping": "environment steps a second, random actions",
    "rollouts": "whole episodes under a policy",
    "training": "training on all seeds, and where throughput saturates",
    "floors": "what the machine could do at best",
    "growth": "cost and memory against size",
    "startup": "the command, from start to finish",
}
"""Names of the parts in the order in which they run, and what each measures."""
