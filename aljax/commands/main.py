"""The command line: parses, runs the command, and turns what ends it into one line and an exit status."""

import contextlib
import dataclasses
import importlib
import io
import itertools
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, Union

import tyro
from tyro.conf import arg, subcommand

from aljax.commands.options.baseline import Baseline
from aljax.commands.options.bench import Bench
from aljax.commands.options.calibrate import Calibrate
from aljax.commands.options.collect import Collect
from aljax.commands.options.evaluate import Evaluate
from aljax.commands.options.export import Export
from aljax.commands.options.importing import Import
from aljax.commands.options.ope import Ope
from aljax.commands.options.optimal import Optimum
from aljax.commands.options.scenarios import Scenarios
from aljax.commands.options.serve import Serve
from aljax.commands.options.sweep import Sweep
from aljax.commands.options.train import Train
from aljax.errors import UserError, one_line, plain
from aljax.host import process, terminal
from aljax.host.terminal import complain

COMMANDS: dict[str, type] = {
    "scenarios": Scenarios,
    "baseline": Baseline,
    "train": Train,
    "evaluate": Evaluate,
    "optimal": Optimum,
    "sweep": Sweep,
    "collect": Collect,
    "ope": Ope,
    "import": Import,
    "calibrate": Calibrate,
    "export": Export,
    "serve": Serve,
    "bench": Bench,
}
"""Each command's options, by its name. What does its work is the module beside this one that is called as theirs is."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      args: as from the shell, without the program's name; none reads ``sys.argv``.

    Returns:
      The exit status: 0; 2 for bad input, told in one line on standard error; if a signal ended it, 128 and its number.
    """
    command = None
    try:
        with process.ended_by_signals(), process.limits_in_one_line():
            console = terminal.console()  # first of all: help, too, is shown on what may not have all characters
            command = _parse(sys.argv[1:] if args is None else list(args))
            status = _work(command).run(command, console) or 0
            terminal.flush()
            return status
    except UserError as error:
        complain(error)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        complain(f"interrupted; {_outcome(command)}")
        return 130
    except process.Terminated as ended:
        complain(f"terminated; {_outcome(command)}")
        return ended.status


def _work(command: Any) -> ModuleType:
    """The module that does what a command's options ask for: only the chosen command loads what it needs."""
    name = type(command).__module__.rpartition(".")[2]
    return importlib.import_module(f"aljax.commands.{name}")


def _outcome(command: Any) -> str:
    """What is left of a command that was ended early."""
    if isinstance(command, Sweep):
        return "finished runs are kept, the same command goes on from there"
    return "nothing is half-written"


def entry() -> None:
    """The installed command, a whole process."""
    process.collect_rarely()
    sys.exit(main())


def _parse(args: list[str]) -> Any:
    """The command with its options filled in; complaints come as one line."""
    named: Any = Union[tuple(Annotated[options, subcommand(name)] for name, options in COMMANDS.items())]  # noqa: UP007
    named = Annotated[named, arg(name="")]
    for before, value in itertools.pairwise(["", *args]):
        if not value or (value.startswith("--") and value.endswith("=")):  # a path of nothing would be the folder here
            option = value[:-1] or (before if before.startswith("--") else "an argument")
            raise UserError(f"{plain(option)}: expected a value, got none")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            command = tyro.cli(
                named, prog="aljax", description=_ABOUT, args=args, config=(tyro.conf.OmitSubcommandPrefixes,)
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        raise UserError(_folded(complaint.getvalue())) from None
    return dataclasses.replace(command, given=_given(args)) if hasattr(command, "given") else command


def _given(args: Sequence[str]) -> frozenset[str]:
    """Names of the options among arguments that the parser has accepted.

    It takes no option of its own for another's value, no abbreviation and no single letter: what begins with two
    dashes, up to where options end, is an option.
    """
    found = set()
    for argument in itertools.takewhile(lambda argument: argument != "--", args):
        if argument.startswith("--"):
            found.add(argument[2:].partition("=")[0].replace("-", "_").removeprefix("no_"))
    return frozenset(found)


_ABOUT = (
    "aljax: which tool next? Simulate an LLM agent's tool calls, train an orchestration policy, and compare it with "
    "what it should beat. Start with: aljax train"
)


def _folded(boxed: str) -> str:
    """The parser's framed message as one line: what is under its heading, then where to look."""
    lines = [line.strip(" │╭╮╰╯|+") for line in boxed.splitlines()]
    sections = [list(group) for rule, group in itertools.groupby(filter(None, lines), _is_rule) if not rule]
    body = " ".join((sections[0][1:] or sections[1]) if len(sections) > 1 else [boxed])
    return f"{plain(one_line(body), 400)} (aljax COMMAND --help lists the options)"


def _is_rule(line: str) -> bool:
    return set(line) <= set("─-")
