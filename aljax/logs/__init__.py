"""Logs of agents, which know nothing of a scenario: the agent log, and traces of other forms that become one.

An agent log is read one way: lines → fields → episode → agent_log → readers. Traces become one in another: documents →
a reader a format (`formats`) → spans → store → assembly → importing. The next format is a file of its own there, and a
name in `aljax.logs.formats.registry`.
"""
