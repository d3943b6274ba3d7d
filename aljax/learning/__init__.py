"""What `aljax.train` learns by: costs to go, baselines, gradients, risk, replay, the optimiser's steps."""
