"""Logs of agents: readers that know nothing of a scenario.

Data flow one way: lines → fields → episode → a reader a file → readers. A reader is a `Format`: what it recognises, and
what it makes of it, episodes of steps. The next one is a file of its own and a name in `aljax.logs.readers`.
"""
