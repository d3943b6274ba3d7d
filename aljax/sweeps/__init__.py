"""Sweeps: thousands of whole training runs in one program, on any number of devices and hosts.

Which runs: `space` says it, `reader` reads it of a file, `resolve` makes a scenario and options of a point, `work`
numbers the rows. Programs: `programs` are compiled by `compiler`, with as many lanes as fit; `plan` says what all will
cost. Carrying out: `run` does a sweep, `search` one whose points Optuna chooses; both stand on `execute`. `hosts` agree
on where a sweep stands. A `study` deals points out to workers: a `sampler` draws them, a `database` keeps the `trials`.
Keeping: a folder's `identity`, its `locks`, and what is finished in its `store`. Results: `gathered` as they come in,
`results` in the end, on disk in `tables`; `pareto` says what nothing beats, `report` and `plots` show all of it.
`repeat` trains a row again.
"""
