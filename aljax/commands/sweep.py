"""The command ``aljax sweep``."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress, TaskID

from aljax import tables
from aljax.commands import shared
from aljax.commands.options.sweep import Sweep
from aljax.errors import UserError, one_line, short
from aljax.host import compiling, files, process
from aljax.host.numerics import versions
from aljax.host.terminal import bar, complain, deliver, styled
from aljax.sweeps import report as sweep_report
from aljax.sweeps.execute import Watch
from aljax.sweeps.plan import SweepPlan
from aljax.sweeps.plots.draw import draw
from aljax.sweeps.reader import parsed_setting, read_spec
from aljax.sweeps.results import Results
from aljax.sweeps.run import plan_only, sweep
from aljax.sweeps.space import MOST_RUNS, Spec

_QUIET_SECONDS = 30  # between lines of progress where the output is no terminal


def run(options: Sweep, console: Console) -> None:
    """Plans, trains, writes, prints."""
    begun = time.perf_counter()
    _check(options)
    changes = _changes(options)
    if options.json is not None:
        files.check_writable(options.json)
    _join(options)
    spec = read_spec(options.file, changes)
    if jax.process_index() > 0:
        console.quiet = True
    draws = options.plots and not options.plan and shared.can_draw(console)
    out = options.out or Path("runs") / f"sweep-{options.file.stem}"
    limit = None if options.memory is None else options.memory * 2**30
    chosen: dict[str, Any] = {"lanes": options.lanes, "devices": options.devices, "memory_limit": limit}
    with _watched(console) as watch:
        if options.plan:
            plan = plan_only(spec, out, watch=watch, **chosen)
            deliver([lambda: _write(options, spec, plan, None, begun)], lambda: watch.planned(plan, 0))
            return
        found = sweep(spec, out, watch=watch, study=options.study, **chosen)
    if jax.process_index() > 0:
        return

    def summarise() -> None:
        with files.whole_file(out / "summary.md") as file:
            text = tables.markdown(sweep_report.summary_tables(found, plain=True))
            file.write_text(text, encoding="utf-8")

    def show() -> None:
        tables.show(console, sweep_report.summary_tables(found))
        console.print(f"{sweep_report.summary_line(found)} Written to", styled(out, "bold"), soft_wrap=True)

    saves = (summarise, lambda: _write(options, spec, watch.plan, found, begun))
    deliver(saves, show, (lambda: draw(out, found)) if draws else None)


def _check(options: Sweep) -> None:
    """Refuses options that do not go together."""
    by_hand = (options.coordinator, options.processes, options.process)
    if any(x is not None for x in by_hand) and any(x is None for x in by_hand):
        raise UserError("--coordinator, --processes and --process go together")
    if options.distributed and options.coordinator is not None:
        raise UserError("--distributed finds the hosts itself: leave out --coordinator, or --distributed")
    for name in ("lanes", "devices", "memory", "processes"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UserError(f"--{name}: expected a number above 0, got {short(value)}")
    for name, most in (("lanes", MOST_RUNS), ("processes", 2**31 - 1)):
        value = getattr(options, name)
        if value is not None and value > most:
            raise UserError(f"--{name}: expected at most {most:,}, got {short(value)}")
    if options.process is not None and options.processes is not None and not 0 <= options.process < options.processes:
        raise UserError(f"--process: expected a number from 0 to {options.processes - 1}, got {short(options.process)}")


def _changes(options: Sweep) -> dict[str, Any]:
    """What the options put in place of the file's values."""
    fixed = dict(parsed_setting(override) for override in options.overrides)
    if options.episodes is not None:
        fixed["episodes"] = options.episodes
    named = {"scenario": options.scenario, "seeds": options.seeds, "set": fixed}
    return {key: value for key, value in named.items() if value is not None}


def _join(options: Sweep) -> None:
    """Makes every core a device, and joins the other hosts: both before JAX looks for devices."""
    compiling.use_cache()
    compiling.use_cores(options.devices)
    try:
        if options.coordinator is not None:
            jax.distributed.initialize(options.coordinator, options.processes, options.process)
        elif options.distributed:
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        hint = " (no job of Slurm, Open MPI or Kubernetes found?)" if options.distributed else ""
        raise UserError(f"the hosts cannot be joined: {one_line(error)}{hint}") from None
    for complaint in process.check_jax():
        complain(complaint)
    if options.devices is not None and options.devices > jax.device_count():
        raise UserError(f"--devices: there are {jax.device_count()}, asked for {short(options.devices)}")


def _write(options: Sweep, spec: Spec, plan: SweepPlan | None, found: Results | None, begun: float) -> None:
    """The figures as JSON."""
    if options.json is None or jax.process_index() > 0:
        return
    files.write_json(
        options.json,
        {
            "scenario": spec.scenario,
            "seeds": spec.protocol.seeds,
            "evaluation_episodes": spec.protocol.evaluation_episodes,
            "method": spec.method,
            "plan": None if plan is None else plan.to_json(),
            "results": None if found is None else found.to_json(),
            "seconds": {"in_all": round(time.perf_counter() - begun, 3)},
            "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
            "versions": versions(),
        },
    )


class _Watch(Watch):
    """Shows plan and progress: a bar at a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console, stack: contextlib.ExitStack):
        self.console = console
        self.plan: SweepPlan | None = None
        self._stack, self._doing = stack, ""
        self._bar: tuple[Progress, TaskID] | None = None
        self._begun = self._told = self._last = time.perf_counter()
        self._first = self._there = 0

    def step(self, doing: str) -> None:
        """See `Watch.step`."""
        if self.console.is_terminal:
            self.console.print(f"{doing} ...", style="dim")

    def planned(self, plan: SweepPlan, done: int) -> None:
        """See `Watch.planned`."""
        self.plan, self._there, self._last = plan, done, time.perf_counter()
        tables.show(self.console, [sweep_report.plan_table(plan)])
        if done:
            self.console.print(f"{done:,} of {plan.runs:,} runs are there already.")

    def warned(self, what: str) -> None:
        """See `Watch.warned`."""
        complain(what)

    def advanced(self, doing: str, done: int, total: int) -> None:
        """See `Watch.advanced`."""
        now = time.perf_counter()
        if doing != self._doing:
            self._first = self._there if doing == "training" else 0
            self._doing, self._begun = doing, self._last
            self._stack.close()
            what = "runs" if doing == "training" else "optima"
            self._bar = self._stack.enter_context(bar(self.console, doing, total, what))
        self._last = now
        rate = (done - self._first) / max(1e-9, now - self._begun)
        note = ""
        if self.plan is not None and doing == "training":
            note = f", {rate * self.plan.episodes / self.plan.runs:,.0f} episodes/s"
        if self._bar is not None:
            shown, task = self._bar
            shown.update(task, completed=done, note=note)
        if not self.console.is_terminal and (now - self._told > _QUIET_SECONDS or done == total):
            left = (total - done) / max(1e-9, rate)
            self.console.print(f"{doing}: {done:,} of {total:,}{note}, {left:,.0f} s left")
            self._told = now


@contextlib.contextmanager
def _watched(console: Console) -> Iterator[_Watch]:
    with contextlib.ExitStack() as stack:
        yield _Watch(console, stack)
