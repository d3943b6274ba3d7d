"""The command ``aljax import``."""

from rich.console import Console
from rich.table import Table

from aljax.commands.options.importing import Import
from aljax.errors import UserError, plain, plain_path
from aljax.host import files
from aljax.host.terminal import bar, styled
from aljax.logs.importing import import_traces
from aljax.logs.summary import TOTALS, Called, Summary

MOST = 40
"""Rows of the table; all are in the file of ``--json``."""


def run(options: Import, console: Console) -> None:
    """Reads, writes the log, prints what is in it."""
    if not options.data or options.out is None:
        raise UserError("import: expected at least one FILE and --out LOG")
    if options.out.is_file() and not options.overwrite:
        raise UserError(f"{plain_path(options.out)}: already exists (--overwrite replaces it)")
    for place in (options.out, options.json):
        if place is not None:
            files.check_writable(place)
    with bar(console, "reading", 1, "") as (shown, task):

        def advance(doing: str, done: int) -> None:
            shown.update(task, total=None, completed=done, description=doing)

        summary = import_traces(
            options.data,
            options.out,
            form=options.form,
            kinds=dict(map(_kind, options.kinds)),
            success=options.success,
            logger=options.logger,
            task=options.task,
            on_progress=advance,
        )
    if options.json is not None:
        files.write_json(options.json, summary.to_json())
    console.print(_table(summary))
    for line in _words(summary):
        console.print(line, soft_wrap=True)
    console.print("Written to", styled(options.out, "bold"))


def _kind(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not equals or not name:
        raise UserError(f"--kind {plain(text)}: expected NAME=clarify, NAME=escalate, NAME=reason or NAME=ignore")
    return name, kind


def _table(summary: Summary) -> Table:
    """A row a tool, and one for all."""
    table = Table(title=f"{summary.episodes:,} episodes, {summary.tasks:,} tasks")
    for heading in ("kind", "name"):
        table.add_column(heading)
    for heading in ("calls", "failed", "unknown", *TOTALS.values()):
        table.add_column(heading, justify="right")
    most = sorted(summary.rows.items(), key=lambda row: -row[1].calls)[:MOST]
    for (kind, name), called in sorted(most, key=lambda row: row[0]):
        table.add_row(kind, plain(name), *_cells(called))
    if len(summary.rows) > MOST:
        table.add_row("", f"and {len(summary.rows) - MOST:,} more")
    table.add_section()
    table.add_row("all", "", *_cells(summary.whole()))
    return table


def _cells(called: Called) -> list[str]:
    totals = [f"{called.totals[field]:,.6g}" if called.said[field] else "–" for field in TOTALS]
    return [f"{called.calls:,}", f"{called.failed:,}", f"{called.unknown:,}", *totals]


def _words(summary: Summary) -> list[str]:
    """What the table does not say: formats, how episodes ended, classes of failures, what was left out."""
    found = sorted(set(summary.formats.values()))
    lines = [f"Read {summary.spans:,} spans of {', '.join(found)} from {len(summary.formats):,} files."]
    known = f"{summary.succeeded:,} of {summary.judged:,} episodes" if summary.judged else "not known of any episode"
    lines.append(f"Success: {known}; {summary.seconds:,.6g} seconds in all.")
    errors = summary.whole().errors.most_common()
    if errors:
        lines.append(f"Failures: {_counted(errors)}.")
    if summary.skipped:
        lines.append(f"Left out: {_counted(summary.skipped.most_common())}.")
    return lines


def _counted(pairs: list[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {plain(what)}" for what, number in pairs)
