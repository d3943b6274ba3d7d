"""The exact optimum, and bounds where it cannot be computed."""
