"""The start of every command that computes."""

from aljax.host import compiling, process


def start_jax(*, cores: bool = False) -> None:
    """Finds what earlier processes compiled, and starts JAX.

    Args:
      cores: make each processor core a device.

    Raises:
      UserError: JAX cannot compute here.
    """
    compiling.use_cache()
    if cores:
        compiling.use_cores()
    process.check_jax()
