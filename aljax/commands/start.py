"""The start of every command that computes."""

from aljax.host import compiling, process
from aljax.host.terminal import complain


def start_jax(*, cores: bool = False, compiles: bool = True) -> None:
    """Finds what earlier processes compiled, and starts JAX.

    Args:
      cores: make each processor core a device.
      compiles: the command compiles something, for which it is worth looking through what is kept.

    Raises:
      UserError: JAX cannot compute here.
    """
    if compiles:
        compiling.use_cache()
    if cores:
        compiling.use_cores()
    for complaint in process.check_jax():
        complain(complaint)
