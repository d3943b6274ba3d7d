"""A sweep's tables and pictures, from results that are made up: nothing is trained here."""

import dataclasses
import io
import itertools
import json
import sys

import numpy as np
import pytest

from aljax.commands import sweep as command
from aljax.commands.main import main
from aljax.host import terminal
from aljax.sweeps import pareto, report
from aljax.sweeps.plan import SweepPlan
from aljax.sweeps.plots import axes as axes_picture
from aljax.sweeps.plots import draw as pictures
from aljax.sweeps.plots import frame, heat_map
from aljax.sweeps.plots import pareto as pareto_picture
from aljax.sweeps.plots.curves import _on_one_grid, learning_curves
from aljax.sweeps.plots.scale import scale_of
from aljax.sweeps.reader import make_spec
from aljax.sweeps.results import FIGURES, Results, column
from aljax.tables import markdown, show

from tiny import TINY

POINTS = 20  # of a learning curve
RANGES = {
    "weights.latency": {"low": 0.02, "high": 2.0, "log": True},
    "weights.money": {"low": 0.02, "high": 2.0, "log": True},
    "learning_rate": {"low": 0.003, "high": 0.1, "log": True},
}
TEXTS = {"hidden": [[64], [32, 32]], "schedule": ["constant", "linear", "cosine"], "normalise": [True, False]}
PLAN = SweepPlan(
    configurations=64,
    seeds=2,
    episodes=12_300_000,
    traced=("learning_rate", "weights.money"),
    static=("hidden",),
    compilations=5,
    shapes=3,
    environments=64,
    unsolved=4,
    reason="too large",
    lanes=16,
    devices=4,
    hosts=2,
    device_bytes=300 * 2**20,
    process_bytes=3 * 2**29,
    seconds=600.0,
    compile_seconds=45.0,
    rate=45_600.0,
)


def made_up(axes, *, configurations=64, seeds=2, method="sobol", lose=(), outlier=None, optimum=True):
    """Results in which cost grows with λ, and learning fails in the rows to lose."""
    raw = {"method": method, "seeds": seeds, "axes": axes}
    spec = make_spec(raw if method == "grid" else raw | {"configurations": configurations})
    points = spec.points()
    rng = np.random.default_rng(0)
    rows = len(points) * seeds
    configuration, seed = np.divmod(np.arange(rows), seeds)
    table = {"row": np.arange(rows), "configuration": configuration, "seed": seed}
    for position, axis in enumerate(spec.axes):
        table[axis.key] = column([point[position] for point in points])[configuration]
    scale = np.ones(rows)
    for axis in spec.axes:
        if axis.key.startswith("weights"):
            scale *= 1 + table[axis.key]
    optimal = dict.fromkeys(FIGURES, np.ones(rows)) | {
        "cost": 10 * scale,
        "success": 1 / scale,
        "latency": 20 / scale,
        "money": 5 / np.sqrt(scale),
    }
    learned = {name: values * rng.uniform(1, 1.5, rows) for name, values in optimal.items()}
    learned["success"] = np.clip(optimal["success"] * rng.uniform(0.7, 1, rows), 0, 1)
    if outlier is not None:
        learned["cost"][outlier] *= 50
    lost = np.isin(np.arange(rows), lose)
    table |= {name: np.where(lost, np.nan, learned[name]) for name in FIGURES} | {"diverged": lost}
    table |= {f"optimal_{name}": values if optimum else np.full(rows, np.nan) for name, values in optimal.items()}
    table["gap_percent"] = 100 * (table["cost"] / table["optimal_cost"] - 1)
    episodes = np.tile(np.linspace(30, 3000, POINTS, dtype=np.float32), (rows, 1))
    curve = np.nan_to_num(table["cost"], nan=50)[:, None] * (1 + 2 * np.exp(-episodes / 800))
    curve[lost, POINTS // 2 :] = np.nan
    return Results(spec, table, {"cost": curve.astype(np.float32), "episodes": episodes})


def many_axes():
    names = ("learning_rate", "learning_rate_end", "entropy")
    return {name: {"low": 0.1, "high": 0.9} for name in names} | TEXTS | {"batch": {"low": 10, "high": 100}}


SWEEPS = {
    "ranges": lambda: made_up(RANGES),
    "diverged": lambda: made_up(RANGES, lose=(0, 1, 7, 40)),
    "texts": lambda: made_up(TEXTS, method="grid", optimum=False, outlier=5),
    "grid": lambda: made_up({key: {**axis, "steps": 4} for key, axis in RANGES.items()}, method="grid"),
    "two scenarios": lambda: made_up({"scenario": ["paper", "escalation"], "weights.money": [0.1, 0.2]}, method="grid"),
    "many axes": lambda: made_up(many_axes(), configurations=200, seeds=1, outlier=5),
    "one axis": lambda: made_up({"weights.money": [0.1, 0.2, 0.4]}, method="grid"),
    "one configuration": lambda: made_up(RANGES, configurations=1, seeds=1),
    "all diverged": lambda: made_up({**TEXTS, "weights.money": [0.1, 0.2]}, method="grid", lose=range(100)),
}
EVERY = ["axes.png", "heat_map.png", "learning_curves.png", "pareto.png"]


def cells(tables):
    """Rows of tables as lists of cells."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(tables).splitlines() if "|" in line]


def by_hand(points, maximise):
    """The definition, pair by pair."""
    signed = [[-x if large else x for x, large in zip(point, maximise, strict=True)] for point in points]

    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))

    known = [point for point in signed if not np.isnan(point).any()]
    return [not np.isnan(b).any() and not any(dominates(a, b) for a in known) for b in signed]


@pytest.mark.parametrize("values", (3, 10, 1000))
@pytest.mark.parametrize("maximise", ((False,), (False, True), (False, False, True)))
def test_the_front_is_what_nothing_dominates(values, maximise):
    """With few values there are many ties and many equal points."""
    rng = np.random.default_rng(values)
    points = rng.integers(0, values, (150, len(maximise))).astype(float)
    points[::17, 0] = np.nan
    assert pareto.pareto_front(points, maximise).tolist() == by_hand(points.tolist(), maximise)


def test_the_front_of_nothing_is_empty():
    assert pareto.pareto_front(np.zeros((0, 3)), pareto.MAXIMISE).tolist() == []
    assert pareto.pareto_front(np.full((2, 3), np.nan), pareto.MAXIMISE).tolist() == [False, False]


def test_fronts_leave_out_diverged_configurations_and_keep_scenarios_apart():
    found = SWEEPS["diverged"]()
    assert not pareto.fronts(found)[[0, 3, 20]].any()
    both = SWEEPS["two scenarios"]()
    for members in (slice(0, 2), slice(2, 4)):
        alone = pareto.pareto_front(pareto.objectives(both)[members], pareto.MAXIMISE)
        assert pareto.fronts(both)[members].tolist() == alone.tolist()


def check_pictures(folder, names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5_000


@pytest.mark.parametrize("name", ("diverged", "texts", "one configuration"))
def test_pictures_are_drawn(name, tmp_path):
    found = SWEEPS[name]()
    assert pictures.draw(tmp_path, found) == []
    check_pictures(tmp_path, EVERY if pareto.over_weights(found) else EVERY[:3])


def test_many_axes_and_several_scenarios_are_drawn(tmp_path):
    axes_picture.against_axes(tmp_path / "axes.png", SWEEPS["many axes"]())
    pareto_picture.pareto(tmp_path / "pareto.png", SWEEPS["two scenarios"]())
    check_pictures(tmp_path, ["axes.png", "pareto.png"])


def test_of_very_many_axes_and_scenarios_some_are_drawn(tmp_path, monkeypatch):
    keys = [f"actions.failure.a{i}" for i in range(30)]
    few = made_up(RANGES)
    axes = [dataclasses.replace(few.spec.axes[0], key=key) for key in keys]
    table = few.table | {key: np.random.default_rng(i).uniform(0.02, 2, 128) for i, key in enumerate(keys)}
    many = dataclasses.replace(few, spec=dataclasses.replace(few.spec, axes=tuple(axes)), table=table)
    titles = []
    for picture in (axes_picture, pareto_picture):
        monkeypatch.setattr(picture, "save", lambda figure, _, plt: titles.append(figure.get_suptitle()) or plt.close())
    axes_picture.against_axes(tmp_path / "axes.png", many)
    assert "the 12 of 30 axes that explain most" in titles[0]
    best = report.summary_tables(many)[0]
    assert "12 of 30 axes" in str(best.title)
    assert len([column for column in best.columns if str(column.header).startswith("actions.")]) == 12

    files = [f"{'x' * i}.toml" for i in range(1, 41)]
    scenarios = np.repeat(files, 2)
    axis = dataclasses.replace(few.spec.axes[0], key="scenario", choices=tuple(files))
    spec = dataclasses.replace(few.spec, axes=(axis, few.spec.axes[0]))
    both = dataclasses.replace(
        few, spec=spec, table={k: v[:80] for k, v in few.table.items()} | {"scenario": scenarios}
    )
    pareto_picture.pareto(tmp_path / "pareto.png", both)
    assert "6 of 40 scenarios" in titles[1]


@pytest.fixture
def odd(tmp_path):
    """Results in which every name would be markup, or a formula, or both."""
    folder = tmp_path / "run [v1] $x_$y"
    (folder / "[").mkdir(parents=True)
    text = TINY.replace("actions.weak", 'actions."buy$a_$b"').replace("actions.strong", 'actions."[red]x"')
    paths = [folder / "[" / f"bold]{i} $a_{i}.toml" for i in (1, 2)]
    for path in paths:
        path.write_text(text)
    axes = {
        "scenario": [str(path) for path in paths],
        "actions": {"failure": {"buy$a_$b": [0.1, 0.2], "[red]x": [0.3, 0.4]}},
        "weights": {"latency": [0.1, 0.2]},
    }
    return made_up(axes, method="grid"), folder


def test_names_are_shown_as_they_are_written(odd, tmp_path):
    found, _ = odd
    stream = io.StringIO()
    show(terminal.console(stream), report.summary_tables(found))
    for name in ("actions.failure.buy$a_$b", "actions.failure.[red]x"):
        assert name in stream.getvalue()
    (tmp_path / "pictures").mkdir()
    assert pictures.draw(tmp_path / "pictures", found) == []
    check_pictures(tmp_path / "pictures", EVERY)


@pytest.fixture
def swept(odd, monkeypatch):
    """The command on a sweep that is done: what it is given, and its output."""
    found, folder = odd
    monkeypatch.setattr(command, "sweep", lambda *_, **__: found)
    (folder / "sweep.toml").write_text("[axes]\nentropy = [0.1]\n")
    return folder, ["sweep", str(folder / "sweep.toml"), "--out", str(folder), "--json", str(folder / "sweep.json")]


def test_what_is_shown_was_saved_before(swept, monkeypatch, capsys):
    folder, args = swept

    def shown(*_):
        assert "buy$a_$b" in (folder / "summary.md").read_text()
        assert json.loads((folder / "sweep.json").read_text())["results"]["runs"] == 32
        assert not list(folder.glob("*.png"))
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "summary_line", shown)
    assert main(args) == 130
    assert "buy$a_$b" in capsys.readouterr().out


def test_a_picture_that_fails_costs_itself_only(swept, monkeypatch, capsys):
    folder, args = swept
    monkeypatch.setattr(pictures, "learning_curves", lambda *_: 1 / 0)
    assert main(args) == 0
    told = capsys.readouterr()
    assert "best: configuration" in told.out and "buy$a_$b" in told.out and f"Written to {folder}" in told.out
    assert told.err.count("\n") == 1 and "learning_curves.png could not be drawn: ZeroDivisionError" in told.err
    assert sorted(path.name for path in folder.glob("*.png")) == ["axes.png", "heat_map.png", "pareto.png"]


def test_what_cannot_be_saved_is_shown_all_the_same(swept, monkeypatch, capsys):
    folder, args = swept
    (folder / "summary.md").mkdir()
    assert main([*args, "--no-plots"]) == 2
    told = capsys.readouterr()
    assert "best: configuration" in told.out
    assert told.err.count("\n") == 1 and "summary.md: is a folder" in told.err
    assert json.loads((folder / "sweep.json").read_text())["results"]["runs"] == 32


def test_without_matplotlib_nothing_is_drawn_and_that_is_said(swept, monkeypatch, capsys):
    folder, args = swept
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(args) == 0
    told = capsys.readouterr().out
    assert told.startswith("No pictures: plots need matplotlib: pip install") and "best: configuration" in told
    assert not list(folder.glob("*.png"))


def test_one_seed_has_no_interval():
    found = made_up(RANGES, seeds=1)
    title, rows = report.summary_tables(found, plain=True)[0].title, cells(report.summary_tables(found, plain=True)[:1])
    assert str(title).startswith("Best configurations by their mean cost over 1 seed,")
    assert not any("[" in cell or "±" in cell for row in rows for cell in row)
    best = found.to_json()["best"][0]
    assert best["cost"]["low"] is None and best["gap_percent"]["high"] is None


def test_an_infinite_value_of_an_axis_is_text_in_json():
    found = made_up({"clip_norm": [1, float("inf")]}, method="grid")
    points = {best["point"]["clip_norm"] for best in found.to_json()["best"]}
    assert points == {1.0, "inf"}
    json.dumps(found.to_json(), allow_nan=False)


def test_every_picture_survives_that_all_diverged(tmp_path):
    found = SWEEPS["all diverged"]()
    axes_picture.against_axes(tmp_path / "axes.png", found)
    heat_map.heat_map(tmp_path / "heat_map.png", found, "hidden", "weights.money")
    learning_curves(tmp_path / "learning_curves.png", found)
    pareto_picture.pareto(tmp_path / "pareto.png", found)
    check_pictures(tmp_path, EVERY)


@pytest.mark.parametrize(
    ("name", "expected"),
    (("ranges", EVERY), ("texts", EVERY[:3]), ("one axis", [EVERY[0], *EVERY[2:]]), ("all diverged", [])),
)
def test_what_applies_is_drawn(name, expected, tmp_path, monkeypatch):
    files = {"against_axes": "axes.png", "heat_map": "heat_map.png", "learning_curves": "learning_curves.png"}
    for function, file in (files | {"pareto": "pareto.png"}).items():
        monkeypatch.setattr(pictures, function, lambda path, *_, file=file: path.write_text(file))
    assert pictures.draw(tmp_path, SWEEPS[name]()) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {file: file for file in expected}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_told(name):
    found = SWEEPS[name]()
    told = markdown(report.summary_tables(found))
    assert all(axis.key in told for axis in found.spec.axes)
    runs = len(found.table["row"])
    assert report.summary_line(found).startswith(f"{runs} run{'s' * (runs > 1)}, ")


def test_curves_of_different_length_meet_on_one_grid():
    found = made_up(RANGES, configurations=2)
    episodes, cost = found.curves["episodes"].copy(), found.curves["cost"].copy()
    episodes[:2] /= 2  # the first configuration trains half as long
    episodes[2:, -5:], cost[2:, -5:] = np.nan, np.nan
    changed = dataclasses.replace(found, curves={"episodes": episodes, "cost": cost})
    grid, curves = _on_one_grid(changed)
    for row in range(4):
        known = np.isfinite(episodes[row])
        inside = (grid >= episodes[row, 0]) & (grid <= np.nanmax(episodes[row]))
        expected = np.interp(grid[inside], episodes[row, known], cost[row, known])
        np.testing.assert_allclose(curves[row, inside], expected)
        assert np.isnan(curves[row, ~inside]).all()
    np.testing.assert_array_equal(_on_one_grid(changed, slice(2, 4))[1], curves[2:])


def test_a_cell_of_the_heat_map_is_the_mean_over_all_that_lies_in_it():
    found = SWEEPS["texts"]()
    up, across = (scale_of(found, key, 5) for key in ("hidden", "schedule"))
    assert (up.labels, across.labels) == (("[64]", "[32, 32]"), ("constant", "linear", "cosine"))
    means = heat_map._cell_means(found.by_configuration("cost").mean(1), up, across)
    for (i, hidden), (j, schedule) in itertools.product(enumerate(up.labels), enumerate(across.labels)):
        here = (found.table["hidden"] == hidden) & (found.table["schedule"] == schedule)
        np.testing.assert_allclose(means[i, j], found.table["cost"][here].mean())


def test_bins_are_even_on_the_axis_and_hold_every_configuration():
    scale = scale_of(SWEEPS["ranges"](), "weights.money", 5)
    assert scale.log
    np.testing.assert_allclose(scale.edges, np.geomspace(0.02, 2, 6))
    assert (scale.edges[scale.bin] <= scale.position).all()
    assert (scale.position <= scale.edges[scale.bin + 1]).all()


def test_the_two_most_important_axes_explain_most():
    found = SWEEPS["ranges"]()
    shares = found.importance()
    first, second = heat_map.two_most_important(found)
    assert [shares[first], shares[second]] == sorted(shares.values(), reverse=True)[:2]


def test_far_outliers_are_cut_off_and_a_spread_is_not():
    near = np.linspace(10, 11, 50)
    assert 11 < frame.top_of(np.append(near, 500)) < 11.5
    assert frame.top_of(near) == np.inf
    assert frame.top_of(np.append(near, np.nan)) == np.inf


def test_a_crowd_is_enlarged_where_a_few_points_lie_far_from_it():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0, 1, (100, 3))
    assert pareto_picture._crowd(spread, spread) is None
    crowd = np.concatenate([0.5 + 0.01 * spread, spread[:5] * 100])
    limits = pareto_picture._crowd(crowd, 0.5 + 0.01 * spread)
    assert limits is not None
    assert pareto_picture._within(crowd[:100], limits).all()
    assert not pareto_picture._within(crowd[100:], limits).any()


def test_optima_are_drawn_of_all_or_of_some_of_the_front():
    points, front = np.zeros((1_000, 3)), np.arange(1_000) < 400
    assert pareto_picture._joined(points[:50], points[:50], front[:50]).all()
    some = pareto_picture._joined(points, points, front)
    assert 100 < some.sum() <= pareto_picture._MOST_JOINED
    assert front[some].all()
    assert not pareto_picture._joined(points, np.full_like(points, np.nan), front).any()


def test_the_plan_is_told_in_human_units():
    told = {row[0]: row[1] for row in cells([report.plan_table(PLAN, plain=True)]) if len(row) == 2}
    assert told["runs"] == "128 = 64 configurations × 2 seeds"
    assert told["training"] == "12.3 M episodes in all"
    assert told["axes that compile anew"] == "hidden"
    assert told["compilations"] == "5: 3 shapes of training, 2 of exact optima"
    assert told["at once"] == "64 runs: 16 lanes × 4 devices on 2 hosts"
    assert told["memory on each device"].startswith("300 MiB")
    assert told["memory of the process"] == "1.5 GiB"
    assert told["time"] == "11 min: 45 s compiling, 10 min the rest"
    assert told["rate"].startswith("45.6 k episodes/s")
    assert told["exact optima"] == "known for 60 of 64 environments; not the others: too large"


def test_the_best_configurations_are_told_with_their_figures():
    found = SWEEPS["diverged"]()
    rows = cells(report.summary_tables(found, plain=True)[:1])[2:]
    assert [int(row[0]) for row in rows] == [each.configuration for each in found.best()]
    best, index = rows[0], found.best(1)[0].configuration
    cost, gap = (found.by_configuration(name)[index].mean() for name in ("cost", "gap_percent"))
    assert best[1:4] == [f"{found.values(key)[index]:.4g}" for key in RANGES]
    assert best[4].startswith(f"{cost:.4g} [")
    assert best[6].startswith(f"{gap:.4g} [")


def test_importance_is_told_as_a_number_and_a_bar():
    found = SWEEPS["ranges"]()
    rows = cells([report.summary_tables(found, plain=True)[1]])[2:]
    told = {row[0]: (row[1], row[2]) for row in rows}
    assert told == {key: (f"{x:.2f}", "█" * round(20 * x)) for key, x in found.importance().items()}


def test_a_front_over_weights_is_told_and_no_other():
    assert len(report.summary_tables(SWEEPS["texts"]())) == 2
    found = SWEEPS["ranges"]()
    table = report.summary_tables(found, plain=True)[2]
    assert f"{pareto.fronts(found).sum()} of 64 configurations" in str(table.title)
    points = pareto.objectives(found)
    for row in cells([table])[2:]:
        assert pareto.fronts(found)[int(row[0])]
        assert row[4:7] == [f"{x:.4g}" for x in points[int(row[0])]]


def test_diverged_runs_are_named_up_to_ten_of_them():
    assert report.summary_line(SWEEPS["ranges"]()).endswith("none diverged")
    assert report.summary_line(SWEEPS["diverged"]()).endswith("4 diverged: rows 0, 1, 7, 40")
    found = made_up(RANGES, lose=range(12))
    assert report.summary_line(found).endswith("12 diverged: rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more")
    best = found.best(1)[0]
    assert f"configuration {best.configuration}, cost {best.figures['cost'].estimate:.4g}" in report.summary_line(found)


@pytest.mark.parametrize(
    ("told", "expected"),
    (
        (report.duration(0.42), "0.4 s"),
        (report.duration(95), "95 s"),
        (report.duration(600), "10 min"),
        (report.duration(9000), "2.5 h"),
        (report.size(3 * 2**20), "3.0 MiB"),
        (report.size(2**30), "1.0 GiB"),
        (report.count(9_999), "9,999"),
        (report.count(12_345), "12.3 k"),
        (report.count(1_234_567), "1.23 M"),
        (report.count(123_456_789), "123 M"),
        (report.number(0.000123456), "0.0001235"),
        (report.number(np.bool_(True)), "true"),
        (report.number(np.int64(64)), "64"),
        (report.number(float("nan")), "–"),
    ),
)
def test_numbers_are_told_as_one_would_say_them(told, expected):
    assert told == expected
