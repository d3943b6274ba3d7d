"""Runs these tests in environments of their own: each framework's newest release, and the oldest that is supported.

``make integrations`` runs it. The oldest are the lower bounds of the extras in pyproject.toml. Neither JAX nor NumPy is
installed: routers and integrations need none.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("langchain", "pydantic-ai", "openai-agents", "mcp")
BESIDE = {
    # Later releases of openai are too new for it, which it does not say of its own.
    ("openai-agents", "oldest"): ["openai==2.36.0"],
    # Writes the spans of the closed loop; pydantic-ai itself needs the interface alone.
    ("pydantic-ai", "newest"): ["opentelemetry-sdk>=1.28"],
    ("pydantic-ai", "oldest"): ["opentelemetry-sdk>=1.28"],
}
"""What a framework's tests need besides it."""
NEEDED = ["pytest>=9", "rich>=14", "tyro>=1.0.17"]
"""What the tests and the command need."""


def main() -> int:
    """Each framework asked for, newest and oldest; the status is 0 if all tests passed everywhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("frameworks", nargs="*", default=FRAMEWORKS, help="default: all")
    found = {}
    for name in parser.parse_args().frameworks:
        for age in ("newest", "oldest"):
            python = environment(name, age)
            found[f"{name} {version(python, name)} ({age})"] = tested(python, name)
    for what, status in found.items():
        print(f"{what}: {'passed' if status == 0 else 'FAILED'}")
    return max(found.values())


def requirement(name: str, age: str) -> str:
    """The extra's requirement, newest as it stands, oldest at its lower bound."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (given,) = extras[name]
    return given if age == "newest" else re.sub(">=", "==", given)


def environment(name: str, age: str) -> Path:
    """The environment's Python, once it has what is needed; made where it is not there, renewed when asked for."""
    folder = ROOT / f".venv-integrations-{name}-{age}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--upgrade", requirement(name, age), *BESIDE.get((name, age), []), *NEEDED], check=True)
    subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
    return python


def version(python: Path, name: str) -> str:
    """The framework's, as installed."""
    package = re.split("[<>=]", requirement(name, "newest"))[0]
    script = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def tested(python: Path, name: str) -> int:
    """The tests' exit status: those of this framework must run, those of others are skipped."""
    print(f"== {name} {version(python, name)}", flush=True)
    # Modules are imported by their files: a folder of tests on the path would hide the SDK's package, agents.
    options = ["--import-mode=importlib", "-o", "pythonpath=tests/integrations", "-p", "no:cacheprovider"]
    command = [python, "-m", "pytest", *options, "tests/integrations"]
    told = os.environ | {"ALJAX_INTEGRATION": name}
    return subprocess.run(command, cwd=ROOT, env=told, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
