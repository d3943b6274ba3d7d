"""Sweeps: thousands of whole training runs in one program, on any number of devices and hosts.

`space` says which runs, `programs` compiles them, `plan` says what they will cost, `store` keeps what is finished,
`run` carries a sweep out, `search` lets Optuna choose the points, which its `study` deals out to workers, `results`
are the table and the curves, `report` and `plots` show them, `repeat` trains a row again. `command` is for the shell.
"""
