"""A calibration's report, in Markdown: what the log says, how sure that is, how well it predicts, and what it lacks."""

import math
from collections.abc import Iterator, Mapping, Sequence

from aljax.calibration.counts import COLUMNS
from aljax.calibration.estimates import Estimate
from aljax.calibration.fitting import Calibration
from aljax.calibration.prediction import COVERED, POINTS, WITHIN, Coverage, Measure, Prediction
from aljax.errors import plain

_UNITS = {"steps": "", "seconds": " s", "dollars": " $", "failures": "", "success": ""}


def report_text(
    calibration: Calibration,
    prediction: Prediction | None,
    files: Sequence[str],
    scenario: str,
    pictures: Mapping[str, str],
) -> str:
    """Writes the report.

    Args:
      calibration: what was fitted.
      prediction: what was held out and predicted, if there are tasks enough.
      files: names of the logs.
      scenario: the scenario's file, as the reader is to call it.
      pictures: their files beside the report, by what they show.

    Returns:
      Markdown.
    """
    runs, tasks = calibration.runs, calibration.needs.tasks
    parts = [
        [
            f"# {plain(calibration.scenario.name)}: what the log says, and how well that predicts",
            f"{len(runs):,} episodes of {len(tasks):,} tasks, by {len({run.logger for run in runs}):,} loggers, from "
            f"{', '.join(map(plain, files))}. Written by `aljax calibrate`, with the scenario `{plain(scenario)}`. "
            "Intervals are at the 95 % level.",
        ],
        _verdict(prediction),
        _missing(calibration),
        _predicted(prediction, pictures),
        _failures(calibration, pictures),
        _amounts(calibration, pictures),
        _needs(calibration, pictures),
        _next(scenario),
    ]
    return "\n\n".join(block for part in parts for block in part if block) + "\n"


def verdicts(prediction: Prediction | None) -> list[tuple[bool, str]]:
    """What was asked of the prediction, and whether it holds.

    Args:
      prediction: what was found; None: nothing could be held out.

    Returns:
      Whether it holds, and what, in words.
    """
    if prediction is None:
        return [(False, "nothing was held out: the log has too few tasks to divide")]
    found = []
    for name, measure in prediction.measures.items():
        if name == "success":
            points = (
                f"success: {100 * measure.bias:+.1f} points off on average, at most {100 * POINTS:g} asked; each time "
                f"by {100 * measure.error:.1f}, where the parts themselves differ by {100 * measure.floor:.1f}"
            )
            found.append((abs(measure.bias) <= POINTS, points))
        elif name != "failures":
            times = f"error {measure.error:.4g} is {measure.ratio:.2f} × the floor, at most {WITHIN:g} asked"
            found.append((measure.ratio <= WITHIN, f"{name}: {times}"))
    if prediction.coverage is not None:
        found.append(_coverage_verdict(prediction.coverage))
    return found


def _coverage_verdict(coverage: Coverage) -> tuple[bool, str]:
    low, high = COVERED
    said = (
        f"tools' failure counts: {100 * coverage.exact:.1f} % of {coverage.counts} within 95 % predictive intervals "
        f"({100 * coverage.within:.1f} % where both ends count in full), {100 * low:g} to {100 * high:g} asked"
    )
    return low <= coverage.exact <= high, said


def _verdict(prediction: Prediction | None) -> Iterator[str]:
    yield "## In short"
    yield "\n".join(f"- {'Met' if met else '**Missed**'}: {said}." for met, said in verdicts(prediction))
    if prediction is not None:
        far = [name for name, measure in prediction.measures.items() if _other_shape(measure)]
        if far:
            yield (
                f"As distributions {' and '.join(far)} are predicted worse than their means: runs differ by more than "
                "the scenario has (see the distances below)."
            )


def _other_shape(measure: Measure) -> bool:
    return measure.distance > WITHIN * measure.distance_floor


def _missing(calibration: Calibration) -> Iterator[str]:
    yield "## What the log cannot say"
    always = [
        "What tasks need is not logged. It is worked out from which runs succeeded, and an agent that calls for more "
        "than it needs looks like a task that needs more",
        "Agents have read the task: they work longer on what needs more. The scenario's agent has not",
        "The prediction below is of the loggers' own ways. What other ways would come to is what the scenario is for, "
        "and what no log can confirm",
    ]
    yield "\n".join(f"- {line}." for line in (*calibration.warnings, *always))


def _predicted(prediction: Prediction | None, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## Held-out tasks, predicted"
    if prediction is None:
        yield "The log has too few tasks to hold any out."
        return
    yield (
        f"{prediction.divisions} times a scenario and its loggers' behaviour were fitted without {prediction.held:.4g} "
        "of the tasks, and played. The error is how far the prediction is from the held-out tasks' mean, the floor "
        "how far the mean of the tasks that were fitted is from it; both are averages of what they are each time, "
        "regardless of sign. Off says how much too high predictions are on average. Distances are "
        "Kolmogorov–Smirnov's, from 0 to 1."
    )
    yield "\n".join([
        "| of a run | logged | predicted | error | floor | error / floor | off | distance | its floor |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_measure_row(name, measure) for name, measure in prediction.measures.items()),
    ])  # fmt: skip
    yield (
        "Each simulated run sets out for as many calls of each row as some run of the log came to; in what order, "
        "whether it tries again and when it gives up follows the fitted choices, and what fails, takes how long and "
        "succeeds follows the scenario."
    )
    if prediction.coverage is not None and prediction.coverage.missed:
        missed = ", ".join(f"{plain(row)} ({count})" for row, count in prediction.coverage.missed[:10])
        yield f"Failure counts outside their predictive intervals, of {prediction.divisions} divisions each: {missed}."
    yield from _picture("prediction", pictures, "Runs, logged and predicted")


def _measure_row(name: str, measure: Measure) -> str:
    logged = measure.logged
    span = f"{logged.estimate:.4g} [{logged.low:.4g}, {logged.high:.4g}]{_UNITS[name]}"
    cells = [
        name, span, f"{measure.predicted:.4g}", f"{measure.error:.3g}", f"{measure.floor:.3g}", f"{measure.ratio:.2f}",
        f"{measure.bias:+.3g}", f"{measure.distance:.3f}", f"{measure.distance_floor:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _failures(calibration: Calibration, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## Failures"
    if calibration.failing is None:
        yield "The log does not say which calls failed."
        return
    failing = calibration.failing
    yield (
        "The probability that a call fails at its first time in a run, after the row's own latest call worked, and "
        "after it failed: the share that failed, and beside it what that becomes with what is known of the other rows "
        "(beta-binomial, hyperparameters by maximum marginal likelihood). "
        + (
            "Tasks differ, and hard ones fail again for reasons that are no failure that lasts: `after_ok` and "
            "`after_failed` are estimated within tasks, and *naive* is what the latter would be whatever the task."
            if failing.within
            else "No task was run twice, so `after_failed` may be that hard tasks fail again."
        )
    )
    lines = [
        "| row | first: raw | shrunk | after ok: raw | shrunk | after failed: raw | naive | within tasks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, kind in zip(calibration.rows, calibration.kinds, strict=True):
        if kind == "terminate":
            continue
        first, ok, again = (calibration.columns[column][row] for column in COLUMNS)
        naive = calibration.columns["after_failed_naive"][row]
        cells = [
            _raw(first),
            _interval(first),
            _raw(ok),
            _interval(ok),
            _raw(again),
            _interval(naive),
            _interval(again),
        ]
        lines.append(f"| {_cell(row)} | {' | '.join(cells)} |")
    yield "\n".join(lines)
    yield from _picture("failures", pictures, "Failure rates, raw against shrunk")


def _amounts(calibration: Calibration, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## Seconds and dollars"
    columns = calibration.columns
    lines = [
        "| row | calls | seconds: raw | shrunk | spread | failed call's seconds | dollars |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in calibration.rows:
        seconds, dollars = columns["latency"][row], columns["money"][row]
        spread, failed = (
            columns[name][row] if name in columns else None for name in ("latency_spread", "failure_latency")
        )
        cells = [
            f"{seconds.count:,}", _number(seconds.raw), _interval(seconds), _number(spread.value) if spread else "–",
            _interval(failed) if failed else "as others", _interval(dollars),
        ]  # fmt: skip
        lines.append(f"| {_cell(row)} | {' | '.join(cells)} |")
    yield "\n".join(lines)
    yield (
        "Seconds and dollars are of the call and of the model's turns before it. The spread is σ of the logarithm of "
        "the seconds."
    )
    yield from _picture("seconds", pictures, "Seconds of calls, logged against simulated")


def _needs(calibration: Calibration, pictures: Mapping[str, str]) -> Iterator[str]:
    needs = calibration.needs
    yield "## What tasks need"
    weak, share = int(needs.weak.sum()), float((needs.unexplained * needs.runs).sum() / needs.runs.sum())
    yield (
        "Successful calls of each row, on average over runs. *Fewest* is the fewest of the runs of a task that "
        "succeeded; *bracketed* also asks how far successful runs exceed each other, and what the failed ones lacked: "
        f"the scenario takes it. Where they differ, the truth may be anywhere between, and beyond. {weak} of "
        f"{len(needs.tasks)} tasks are weak: fewer than three runs, or none that succeeded. Of runs whose calls would "
        f"do, {100 * share:.1f} % fail all the same, which no calls of tools put right in the scenario."
    )
    lines = ["| row | fewest | bracketed | tasks that need it | surplus of a successful run |", "|---|---|---|---|---|"]
    fewest, bracketed = needs.mean("fewest"), needs.mean("bracketed")
    for i, row in enumerate(calibration.rows[: len(fewest)]):
        asked = int((needs.fewest[:, i] > 0).sum())
        lines.append(f"| {_cell(row)} | {fewest[i]:.3f} | {bracketed[i]:.3f} | {asked} | {needs.surplus[i]:.3f} |")
    yield "\n".join(lines)
    yield from _picture("needs", pictures, "Calls that tasks need, by both estimators")


def _next(scenario: str) -> Iterator[str]:
    yield "## What next"
    name = plain(scenario)
    yield f"    aljax scenarios {name}\n    aljax baseline --scenario {name}\n    aljax train --scenario {name}"
    yield (
        "Before that: the weights λ say what a second, a dollar, a failed call and a call that is missing are worth "
        "to you (`--weights`); the file says which of its numbers are assumed."
    )


def _picture(name: str, pictures: Mapping[str, str], says: str) -> Iterator[str]:
    if name in pictures:
        yield f"![{says}]({pictures[name]})"


def _cell(row: str) -> str:
    return plain(row).replace("|", "\\|")


def _raw(estimate: Estimate) -> str:
    return "–" if not estimate.count else f"{estimate.raw:.3f} of {estimate.count:,}"


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low) or estimate.low == estimate.high:
        return _number(estimate.value)
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
