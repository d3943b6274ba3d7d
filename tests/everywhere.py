"""Runs tests in environments of their own: each library's newest release, and the oldest that is supported.

``make integrations`` and ``make adapters`` run it. The oldest are the lower bounds of the extras in pyproject.toml.
Routers and integrations need neither JAX nor NumPy, so there none is installed; adapters are tried with all that aljax
needs, on each version of Python that is asked for.
"""

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Room:
    """A part of the package that lives inside other people's libraries."""

    extras: Mapping[str, str]
    """What installs each library, to the tests that it needs, by a pattern of their names."""
    needed: tuple[str, ...]
    """What the tests need beside."""
    whole: bool
    """All that aljax requires is installed, too."""
    beside: Mapping[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Of an extra and an age: what a release does not say of its own needs."""


ROOMS = {
    "integrations": Room(
        extras=dict.fromkeys(("langchain", "pydantic-ai", "openai-agents", "mcp"), ""),
        needed=("pytest>=9", "rich>=14", "tyro>=1.0.17"),
        whole=False,
        beside={("openai-agents", "oldest"): ("openai==2.36.0",)},  # later ones are too new for it
    ),
    "adapters": Room(
        extras={
            "gymnasium": "core or evaluation or gymnasium",
            "gymnax": "gymnax",
            "sb3": "sb3",
            "dm_env": "dm_env",
        },
        needed=("pytest>=9",),
        whole=True,
    ),
}


def main() -> int:
    """Each library asked for, newest and oldest; the status is 0 if all tests passed everywhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("extras", nargs="*", help="default: all of the room")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters; default: this one")
    options = parser.parse_args()
    room, found = ROOMS[options.room], {}
    for name in options.extras or room.extras:
        for interpreter in options.python:
            for age in ("newest", "oldest"):
                python = environment(room, name, age, interpreter)
                what = f"{name} {versions(python, name)} ({age})"
                found[what] = tested(python, what, options.room, name)
    for what, status in found.items():
        print(f"{what}: {'passed' if status == 0 else 'FAILED'}")
    return max(found.values())


def requirements(name: str, age: str) -> list[str]:
    """The extra's requirements, newest as they stand, oldest at their lower bounds."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return extras[name] if age == "newest" else [re.sub(">=([^,]+).*", r"==\1", given) for given in extras[name]]


def environment(room: Room, name: str, age: str, interpreter: str) -> Path:
    """The environment's Python, once it has what is needed; made where it is not there, renewed when asked for."""
    label = subprocess.run(
        [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    folder = ROOT / f".venv-everywhere-{name}-{age}-{label}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    beside = room.beside.get((name, age), ())
    given = [*requirements(name, age), *beside, *room.needed]
    if room.whole:
        subprocess.run([*install, "--upgrade", "--editable", ROOT, *given], check=True)
    else:
        subprocess.run([*install, "--upgrade", *given], check=True)
        subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
    return python


def versions(python: Path, name: str) -> str:
    """The library's, as installed, and Python's."""
    package = re.split("[<>=]", requirements(name, "newest")[0])[0]
    script = f"import importlib.metadata as m, platform as p; print(m.version({package!r}), 'on', p.python_version())"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def tested(python: Path, what: str, room: str, name: str) -> int:
    """The tests' exit status: those of this library must run, those of others are skipped or left out."""
    print(f"== {what}", flush=True)
    # Modules are imported by their files: a folder of tests on the path would hide the SDK's package, agents.
    options = ["--import-mode=importlib", "-o", f"pythonpath=tests tests/{room}", "-p", "no:cacheprovider"]
    command = [python, "-m", "pytest", *options, f"tests/{room}"]
    if ROOMS[room].extras[name]:
        command += ["-k", ROOMS[room].extras[name]]
    told = os.environ | {"ALJAX_LIBRARY": name}
    return subprocess.run(command, cwd=ROOT, env=told, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
