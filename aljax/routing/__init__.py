"""Routers: a run's policy as a file of data and one module of the standard library, `aljax.router`."""
