"""Commands as processes of their own."""

import os


def keeping(**changes):
    """The environment of a command that keeps its programs whole, and finds those of others, as a user's does.

    What this process gives its children otherwise is JAX's own cache, for which they trace everything anew.
    """
    return {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"} | changes
