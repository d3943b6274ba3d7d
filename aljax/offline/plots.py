"""The picture of estimates from a log."""

from collections.abc import Mapping
from pathlib import Path

from aljax.drawing import label, pyplot, save
from aljax.offline.answer import Answer
from aljax.statistics import Interval


def estimates(path: Path, answers: Mapping[str, Answer], truths: Mapping[str, Mapping[str, Interval]]) -> None:
    """Every estimator's interval, a row of panels a policy and a panel an outcome, beside the truth where it is known.

    Args:
      path: the PNG file.
      answers: by policy.
      truths: by policy and outcome; may be empty.
    """
    plt = pyplot()
    outcomes = list(next(iter(answers.values())).estimates)
    estimators = list(next(iter(answers.values())).estimates[outcomes[0]])
    size = (5 * len(outcomes), len(answers) * (0.3 * len(estimators) + 1))
    figure, axes = plt.subplots(len(answers), len(outcomes), figsize=size, squeeze=False, layout="constrained")
    for row, (name, answer) in zip(axes, answers.items(), strict=True):
        for axis, outcome in zip(row, outcomes, strict=True):
            for place, estimator in enumerate(estimators):
                interval = answer.estimates[outcome][estimator].interval
                if interval is None:
                    axis.text(0.5, place, "refused", transform=axis.get_yaxis_transform(), ha="center", va="center")
                    continue
                axis.plot([interval.low, interval.high], [place, place], color="C0", linewidth=2)
                axis.plot(interval.estimate, place, "o", color="C0", markersize=4)
            axis.axvline(answer.logged[outcome].estimate, color="grey", linestyle=":", label="the loggers")
            if name in truths:
                axis.axvline(truths[name][outcome].estimate, color="C3", linewidth=1, label="in the simulator")
            axis.set_yticks(range(len(estimators)), estimators)
            axis.invert_yaxis()
            axis.set_title(f"{label(name)}: {outcome}", fontsize=9)
    axes[0, 0].legend(fontsize=7)
    save(figure, path, plt)
