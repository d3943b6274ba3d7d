"""Traces of any known form into an agent log: what ``aljax import`` does.

Data flow one way: documents → a reader's spans → the store on disk → episodes, whole → rows of the log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from aljax.errors import UserError, listed, plain, plain_path
from aljax.logs import agent_log
from aljax.logs.assembly import KINDS, Assembly
from aljax.logs.containers import documents_of
from aljax.logs.documents import Document
from aljax.logs.fields import known
from aljax.logs.formats.registry import NAMES, looks, recognised, wanted
from aljax.logs.formats.source import Source
from aljax.logs.lines import Lines, created
from aljax.logs.spans import Intake
from aljax.logs.store import DiskStore
from aljax.logs.summary import Summary

PATIENCE = 1_000
"""Documents of no known form, such as metrics, that may stand before the first traces of a file."""


def import_traces(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    form: str | None = None,
    kinds: Mapping[str, str] | None = None,
    success: str | None = None,
    logger: str | None = None,
    task: str | None = None,
    on_progress: Callable[[str, int], None] = lambda doing, done: None,
) -> Summary:
    """Reads traces and writes an agent log, whole or not at all.

    Spans of one trace, and traces of one session, may lie anywhere in the files: they are kept in a temporary database
    on disk until all have been read. In memory is a document of at most 4 MiB, or a piece of one, and then an episode.

    Args:
      paths: files of traces, gzipped or not, each of one form; forms may differ between them.
      out: the log; gzipped if its name ends in ``.gz``.
      form: the files' format, one of `NAMES`; none: each file shows its own.
      kinds: of tools by name: ``clarify``, ``escalate``, ``reason`` (a turn of the model's) or ``ignore``.
      success: the name of the score that says whether an episode succeeded; none: any of `assembly.SUCCESS`.
      logger: what whoever acted is called in the log; none: as the traces say, such as by the agent's name.
      task: the attribute of traces or spans that names an episode's task; none: as the traces say, if they do.
      on_progress: called now and then with what is being done, and how many spans or episodes of it.

    Returns:
      What was found.

    Raises:
      UserError: one line: a file that cannot be read, is damaged or of no known form; nothing in it to import; the log
        cannot be written.
    """
    for name, kind in (kinds or {}).items():
        if kind not in KINDS:
            raise UserError(f"--kind {plain(name)}={plain(kind)}: expected one of {', '.join(KINDS)}")
    if form is not None and form not in NAMES:
        raise UserError(f"--format {plain(form)}: expected one of {', '.join(NAMES)}")
    summary = Summary()
    with DiskStore() as store:
        intake = Intake(store, task)
        logs = []
        for path in paths:
            source = _read(path, form, intake, on_progress)
            summary.formats[plain_path(path)] = source or "aljax"
            if source is None:
                logs.append(path)
        assembly = Assembly(kinds or {}, success, logger)

        def episodes() -> Iterator[list[dict[str, Any]]]:
            for path in logs:
                yield from _logged(path, assembly)
            for name, traces in store.episodes():
                rows = assembly.rows(name, traces, intake.skipped)
                if rows:
                    if task is not None and "task" not in rows[-1]:
                        intake.skip(f"episodes whose traces have no {plain(task)}: their tasks are their own")
                    yield rows

        with created(out) as stream:
            _write(stream, episodes(), summary, on_progress)
            summary.spans, summary.skipped = intake.spans, intake.skipped
            if store.repeated:
                summary.skipped["spans that were told again"] += store.repeated
            unheard = sorted(assembly.kinds.keys() - assembly.met)
            if unheard:
                summary.skipped[f"kinds of tools that nothing calls: {listed(unheard, 200)}"] += len(unheard)
            if not summary.episodes:
                raise UserError(f"{', '.join(map(plain_path, paths))}: nothing to import: {_why(summary)}")
    return summary


def _why(summary: Summary) -> str:
    """What was found in the place of calls."""
    left = "".join(f"; {number:,} {reason}" for reason, number in summary.skipped.most_common())
    return f"{summary.spans:,} spans, none of them a call of a tool or a model{left}"


def _read(path: str | Path, form: str | None, intake: Intake, on_progress: Callable[[str, int], None]) -> str | None:
    """Takes the spans of a file; gives the name of its format, none where it is an agent log."""
    where, source, unknown, due = plain_path(path), None, [], 0
    if form == "aljax":
        return None
    for document in documents_of(path):
        if source is None:
            if form is None and isinstance(document.value, dict) and agent_log.recognises(document.value):
                if not Path(path).is_file():
                    raise UserError(f"{where}: an agent log, and no file: --format aljax takes it as it comes")
                return None
            source = next(filter(None, (recognised(part, form) for part in (document.value, *_parts(document)))), None)
            if source is None:
                unknown.append(looks(document.value))
                if len(unknown) < PATIENCE:
                    continue
                break
        _take(source, document.value, intake)
        if intake.spans >= due:
            on_progress("reading", intake.spans)
            due = intake.spans + 5_000
    if source is None:
        raise UserError(f"{where}: {'begins with ' + unknown[0] if unknown else 'empty'}, expected {wanted(form)}")
    if unknown:
        intake.skip("documents that hold no traces", len(unknown))
    return source.name


def _take(source: Source, value: Any, intake: Intake) -> None:
    """Takes a document, or the documents of a list."""
    whole = not isinstance(value, list) or source.recognises(value)
    intake.each([value] if whole else value, lambda part: source.read(part, intake), "documents")


def _parts(document: Document) -> list[Any]:
    """The first values of a list, which may be documents themselves."""
    return document.value[:5] if isinstance(document.value, list) else []


def _logged(path: str | Path, assembly: Assembly) -> Iterator[list[dict[str, Any]]]:
    """Episodes of an agent log as rows, unknown fields left out."""
    for episode in agent_log.read(Lines(path), lambda row: None):
        rows: list[dict[str, Any]] = []
        for step in map(known, episode.steps):
            kind = assembly.kind(step["kind"], step["name"])
            if kind != "ignore":
                rows.append(step | {"t": len(rows), "kind": kind})
        about = {"logger": assembly.logger} if assembly.logger else {}
        yield [row | about for row in (*rows, known(episode.end))]


def _write(
    stream: Any,
    episodes: Iterable[list[dict[str, Any]]],
    summary: Summary,
    on_progress: Callable[[str, int], None],
) -> None:
    for rows in episodes:
        summary.add(rows)
        stream.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        if summary.episodes % 500 == 0:
            on_progress("writing", summary.episodes)
