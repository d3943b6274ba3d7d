"""Memory of this host and of this process, where the system tells it: on Linux."""


def available_memory() -> int:
    """What programs may still take of this host's memory, bytes; 0: not known.

    Returns:
      Bytes.
    """
    return _linux("/proc/meminfo", "MemAvailable")


def resident_memory() -> int:
    """What this process holds now, bytes; 0: not known.

    Returns:
      Bytes.
    """
    return _linux("/proc/self/status", "VmRSS")


def peak_memory() -> int:
    """The most that this process has held so far, bytes; 0: not known.

    Returns:
      Bytes.
    """
    return _linux("/proc/self/status", "VmHWM")


def _linux(path: str, key: str) -> int:
    """A size in bytes from one of Linux's files; 0 elsewhere."""
    try:
        with open(path) as file:  # noqa: PTH123
            line = next(line for line in file if line.startswith(key))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
