"""The command ``aljax calibrate``."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from aljax import tables
from aljax.calibration import plots
from aljax.calibration.drift import find_drift
from aljax.calibration.drift_report import drift_table, drift_words
from aljax.calibration.fitting import Calibration, fit
from aljax.calibration.prediction import Prediction, predict
from aljax.calibration.prices import read_prices
from aljax.calibration.report import report_text, verdicts
from aljax.commands import shared
from aljax.commands.options.calibrate import Calibrate
from aljax.commands.start import start_jax
from aljax.drawing import draw_all
from aljax.errors import UserError, plain, plain_path
from aljax.host import files
from aljax.host.terminal import bar, deliver, styled
from aljax.options import CalibrationSettings
from aljax.scenario import load_scenario

_PICTURES = ("failures", "seconds", "needs", "prediction")


def run(options: Calibrate, console: Console) -> None:
    """Fits, predicts what was held out, writes the scenario, the report and the pictures; or looks for drift."""
    if options.against is not None:
        return _find_drift(options, options.against, console)
    out = _out(options)
    written, pictures = out.with_suffix(".md"), {name: out.with_name(f"{out.stem}_{name}.png") for name in _PICTURES}
    for place in (out, written, *(pictures.values() if options.plots else ())):
        if place.is_file() and not options.overwrite:
            raise UserError(f"{plain_path(place)}: already exists (--overwrite replaces it)")
        files.check_writable(place)
    if options.json is not None:
        files.check_writable(options.json)
    _check(options.settings)
    groups = dict(_pair(text, "--group", "PATTERN=NAME") for text in options.groups)
    prices = None if options.prices is None else read_prices(options.prices)
    weights = _weights(options.weights)
    start_jax()
    draws = options.plots and shared.can_draw(console)
    with bar(console, "fitting", 1, "divisions of the tasks") as (shown, task):
        found = fit(
            options.data,
            options.settings,
            groups=groups,
            prices=prices,
            weights=weights,
            loggers=options.logger,
            tasks=options.task,
            name=out.stem,
        )

        def advance(done: int, every: int) -> None:
            shown.update(task, total=every, completed=done, description="predicting")

        predicted = predict(found, options.settings, advance)
    drawings = _drawings(found, predicted, pictures) if draws else {}
    names = {name: pictures[name].name for name in _PICTURES if pictures[name] in drawings}
    text = report_text(found, predicted, [path.name for path in options.data], out.name, names)
    saves: list[Callable[[], None]] = [
        functools.partial(_write, out, found.text), functools.partial(_write, written, text),
    ]  # fmt: skip
    if options.json is not None:
        saves.append(functools.partial(files.write_json, options.json, _figures(found, predicted)))

    def show() -> None:
        for line in _words(found, predicted):
            console.print(line, soft_wrap=True)
        console.print("Written to", styled(out, "bold"), "with", styled(written, "bold"))

    deliver(saves, show, functools.partial(draw_all, drawings))


def _find_drift(options: Calibrate, against: str, console: Console) -> None:
    """Says where the log has drifted from a scenario."""
    idle = [name for name in ("out", "groups", "task", "weights") if getattr(options, name)]
    if idle or not options.data:
        what = f"without effect beside --against: {', '.join(idle)}" if idle else "expected at least one LOG"
        raise UserError(f"calibrate: {what}")
    if options.json is not None:
        files.check_writable(options.json)
    start_jax()
    prices = None if options.prices is None else read_prices(options.prices)
    found = find_drift(options.data, load_scenario(against), prices=prices, loggers=options.logger)
    if not found.columns:
        raise UserError(f"calibrate: nothing in the log can be held against {plain(against)}: no row was called often")

    def show() -> None:
        tables.show(console, [drift_table(found)])
        for line in drift_words(found, against):
            console.print(line, soft_wrap=True)

    deliver([functools.partial(files.write_json, options.json, found.to_json())] if options.json else [], show)


def _out(options: Calibrate) -> Path:
    if not options.data or options.out is None:
        raise UserError("calibrate: expected at least one LOG and --out FILE.toml")
    if len({path.resolve() for path in options.data}) < len(options.data):
        raise UserError("calibrate: the same LOG stands there twice")
    if options.out.suffix != ".toml":
        raise UserError(f"--out {plain_path(options.out)}: expected a name that ends in .toml")
    return options.out


def _check(settings: CalibrationSettings) -> None:
    """Refuses what no number of the settings can be."""
    if not 0 < settings.holdout < 1:
        raise UserError(f"--holdout {settings.holdout:g}: expected a share between 0 and 1")
    for name, least in (("least", 1), ("splits", 1), ("simulated", 100), ("seed", 0)):
        value = getattr(settings, name)
        if not least <= value <= 10**6:
            raise UserError(f"--{name} {value}: expected a whole number from {least} to 1,000,000")


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise UserError(f"{option} {plain(text)}: expected {form}")
    return name, value


def _weights(text: str | None) -> dict[str, float]:
    found = {}
    for part in text.split(",") if text is not None else ():
        name, value = _pair(part, "--weights", "NAME=NUMBER, with commas between")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise UserError(f"--weights {plain(part)}: expected a number, got {plain(value)}") from None
    return found


def _write(path: Path, text: str) -> None:
    with files.whole_file(path) as file:
        file.write_text(text, encoding="utf-8")


def _drawings(
    found: Calibration, predicted: Prediction | None, pictures: Mapping[str, Path]
) -> dict[Path, Callable[[Path], None]]:
    """What there is something to draw of."""
    drawings: dict[Path, Callable[[Path], None]] = {
        pictures["needs"]: lambda place: plots.needs(place, found),
    }
    if found.failing is not None:
        drawings[pictures["failures"]] = lambda place: plots.failures(place, found)
    if "latency_spread" in found.columns:
        drawings[pictures["seconds"]] = lambda place: plots.seconds(place, found)
    if predicted is not None:
        drawings[pictures["prediction"]] = lambda place: plots.prediction(place, predicted)
    return drawings


def _figures(found: Calibration, predicted: Prediction | None) -> dict[str, Any]:
    needs = found.needs
    return {
        "episodes": len(found.runs),
        "tasks": len(needs.tasks),
        "columns": {
            column: {row: estimate.to_json() for row, estimate in rows.items()}
            for column, rows in found.columns.items()
        },
        "needs": {
            row: {name: float(needs.mean(name)[i]) for name in ("fewest", "bracketed")}
            for i, row in enumerate(found.rows[: len(needs.surplus)])
        },
        "unexplained": float((needs.unexplained * needs.runs).sum() / needs.runs.sum()),
        "prediction": None if predicted is None else predicted.to_json(),
        "warnings": list(found.warnings),
    }


def _words(found: Calibration, predicted: Prediction | None) -> list[str]:
    """What the log came to, in lines."""
    tools = found.kinds.count("tool")
    lines = [
        f"{len(found.runs):,} episodes of {len(found.needs.tasks):,} tasks; {tools} tools, {len(found.rows)} rows."
    ]
    lines += [f"{'Met' if met else 'Missed'}: {said}." for met, said in verdicts(predicted)]
    return lines + [f"Warning: {warning}." for warning in found.warnings]
