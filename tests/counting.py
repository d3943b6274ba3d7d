"""Counts what does not depend on the machine."""

import contextlib

import jax


@contextlib.contextmanager
def compilations():
    """The names of events in which XLA compiled something."""
    found = []

    def listen(name, seconds, **details):
        if name.endswith("backend_compile_duration"):
            found.append(details.get("fun_name", name))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
