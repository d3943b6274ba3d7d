"""What programs are compiled for: whatever differs between a CPU and an accelerator is decided here.

A program may be compiled for another platform than this process's own, so a target is an argument, static and part of
every key by which compiled programs are found again; only where none is given is it the default backend's.

On a CPU, what counts is what stays in its caches and what its compiler makes vector loops of. An accelerator waits some
microseconds for every kernel that is launched, whatever it does: there, few launches count.
"""

import dataclasses
from typing import Any, Literal

import jax

from aljax.errors import UserError

Platform = Literal["cpu", "gpu", "tpu"]
Kernels = Literal["compiled", "interpreted", "none"]

_PLATFORMS: dict[str, Platform] = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}
_UNROLLED = 32
"""Steps of a loop that are written out one after the other where loops are launched step by step, as on a GPU; more
would compile slowly. A TPU runs whole programs: written out, an update takes ten times the memory there, and longer to
compile."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of device, and what pays there. Hashable: equal targets share a compilation."""

    platform: Platform
    kernels: Kernels = "compiled"
    """How kernels written for an accelerator are run: compiled for it; interpreted, which any device can, for their
    numbers; none: the general path is taken in their place."""

    @property
    def accelerator(self) -> bool:
        """It is no CPU."""
        return self.platform != "cpu"

    @property
    def block(self) -> int:
        """Episodes of a training batch that are worked on at a time, at most: what stays in a CPU's caches."""
        return 65_536 if self.accelerator else 512

    @property
    def stepping_block(self) -> int:
        """The same where episodes are stepped and nothing is learned."""
        return 2**20 if self.accelerator else 8192

    @property
    def lanes(self) -> int:
        """Training runs of a sweep side by side. More than 16 drop out of a CPU's caches; accelerators want many."""
        return 1024 if self.accelerator else 16

    @property
    def starts(self) -> int:
        """How many times as many starts an exact solution takes at once as stay in a CPU's caches."""
        return 16 if self.accelerator else 1

    @property
    def seeds_in_turn(self) -> bool:
        """Seeds run one after the other: on a CPU as fast as vmapped, and their bits do not depend on their number."""
        return not self.accelerator

    @property
    def shares_memory(self) -> bool:
        """What programs take is the host's own memory."""
        return not self.accelerator

    @property
    def product_of_rows(self) -> bool:
        """Looking up rows of a table is one product with a one-hot matrix, which CPUs do faster than gathering."""
        return not self.accelerator

    @property
    def stores_by_division(self) -> bool:
        """The compiler must be kept from repeating shared work in every loop; see `aljax.layout.stored`."""
        return not self.accelerator

    @property
    def draws_always(self) -> bool:
        """Normal numbers are drawn, needed or not: at a conditional an accelerator waits for the host."""
        return self.accelerator

    @property
    def draws_apart(self) -> bool:
        """Random numbers are worked out one by one, in one launch, not two at a time and then put in their order."""
        return self.platform == "gpu"

    @property
    def stores_packed(self) -> bool:
        """What a step leaves, and what an update leaves, is one array; on a CPU arrays are better kept apart."""
        return self.accelerator

    @property
    def whole_rollouts(self) -> bool:
        """Rollouts for which there is a kernel (`aljax.kernels`) are one launch."""
        return self.platform == "gpu" and self.kernels != "none"

    def unrolled(self, steps: int) -> int:
        """Steps of an episode in each round of its loop.

        Args:
          steps: T, of the episode.

        Returns:
          1, or all of them.
        """
        return steps if self.platform == "gpu" and steps <= _UNROLLED else 1

    def compiler_options(self, *, once: bool = False) -> dict[str, Any] | None:
        """Compiler options of large programs: on CPUs, less optimisation compiles faster and runs as fast.

        Args:
          once: the program runs once or twice, and has no gradients: it is compiled without XLA's newer emitters of
            fused loops, in three fifths of the time, where there is the choice.

        Returns:
          For `jax.jit`'s ``compiler_options``; None: as JAX has them.
        """
        if self.accelerator:
            return None
        older = once and jax.__version_info__ < (0, 11)  # later compilers refuse to be asked
        return {"xla_backend_optimization_level": 1} | ({"xla_cpu_use_fusion_emitters": False} if older else {})


def target_of(platform: str) -> Target:
    """The target of a platform by any of JAX's names.

    Args:
      platform: cpu, gpu, cuda, rocm or tpu.

    Returns:
      The target.

    Raises:
      UserError: no platform that is known.
    """
    if platform not in _PLATFORMS:
        raise UserError(f"platform: expected one of {', '.join(_PLATFORMS)}, got {platform}")
    return Target(_PLATFORMS[platform])


def here() -> Target:
    """The target of JAX's default backend.

    Returns:
      The target.
    """
    return target_of(jax.default_backend())
