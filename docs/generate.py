"""Makes the pages of the reference that follow from the package: its public face, its modules, its commands.

The package is walked, so a module that moves, comes or goes needs nothing here. A page is only written when its text
has changed. Everything made is ignored by git.
"""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aljax
from aljax.commands.main import COMMANDS

PACKAGE = Path(aljax.__file__).parent
MODULES, COMMANDS_PAGE = "reference/modules", "reference/commands.rst"


def write(docs: Path) -> None:
    """Writes the pages into the documentation's folder, and removes those of modules that are no more."""
    pages = dict(module_pages()) | {COMMANDS_PAGE: commands_page()}
    (docs / MODULES).mkdir(parents=True, exist_ok=True)
    for old in (docs / MODULES).glob("*.rst"):
        if f"{MODULES}/{old.name}" not in pages:
            old.unlink()
    for name, text in pages.items():
        place = docs / name
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def module_names() -> list[str]:
    """The names of all modules of the package, sorted; running ``aljax.__main__`` would be a command."""
    files = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in files)
    return sorted(name for name in names if not name.endswith(".__main__"))


def module_pages() -> Iterator[tuple[str, str]]:
    """A page a module, each room's with its modules below it; the first is the public face."""
    names = module_names()
    for name in names:
        inside = [other for other in names if other.rpartition(".")[0] == name]
        lines = [*heading(name), f".. automodule:: {name}"]
        lines += ["", *public_names()] if name == "aljax" else ["   :members:"]
        if inside:
            lines += ["", ".. toctree::", "   :maxdepth: 1", "", *(f"   {other}" for other in inside)]
        yield f"{MODULES}/{name}.rst", "\n".join(lines) + "\n"


def public_names() -> list[str]:
    """A row a public name: where it is at home, and what its docstring says first."""
    lines = [*heading("Public names", "-"), ".. list-table::", ""]
    for name in sorted(set(aljax.__all__) - {"__version__"}, key=str.lower):
        found = getattr(aljax, name)
        if inspect.ismodule(found):
            found = getattr(found, name, found)  # a module that is called as its function
        home = found.__name__ if inspect.ismodule(found) else f"{found.__module__}.{found.__qualname__}"
        summary = " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())
        lines += [f"   * - :py:obj:`aljax.{name} <{home}>`", f"     - {summary}"]
    return [*lines, "", *heading("Modules", "-")]


def commands_page() -> str:
    """The commands, each with its text, its examples and its options as ``--help`` shows them."""
    lines = heading("Commands")
    lines += ["What ``aljax COMMAND --help`` shows.", ""]
    for name, options in COMMANDS.items():
        text, _, examples = inspect.cleandoc(options.__doc__ or "").partition("\nTry:\n")
        lines += [*heading(f"aljax {name}", "-"), text, "", *literal(examples)]
        shown = help_of(name)
        lines += literal(shown[shown.index("╭") :])
    return "\n".join(lines) + "\n"


def help_of(command: str) -> str:
    """What ``--help`` of a command prints, 100 characters wide, without colours."""
    plain = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", "TERM": "dumb"}
    call = [sys.executable, "-m", "aljax", command, "--help"]
    return subprocess.run(call, capture_output=True, check=True, env=plain, encoding="utf-8").stdout


def heading(title: str, line: str = "=") -> list[str]:
    """A heading and the empty line after it."""
    return [title, line * len(title), ""]


def literal(text: str) -> list[str]:
    """Text shown as it is."""
    return ["::", "", *(f"   {line}" for line in inspect.cleandoc(text).splitlines()), ""] if text.strip() else []
