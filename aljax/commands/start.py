"""The start of every command that computes."""

from aljax.host import compiling, process
from aljax.host.terminal import complain


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
    for complaint in process.check_jax():
        complain(complaint)
