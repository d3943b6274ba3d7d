"""The pages for readers: what they name is there, everything is reachable, and the whole builds without a warning."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aljax import load_scenario

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = {"reference/commands", "reference/modules/aljax"}  # made by docs/generate.py at each build
PAGES = sorted([path for name in ("*.md", "benchmarks/*.md", "studies/*.md") for path in ROOT.glob(name)])
PAGES += sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#([^)\s]+))?\)")
INCLUDED = re.compile(r"^```\{literalinclude\} (\S+)$", re.MULTILINE)
NAMED = re.compile(r"`((?:\.\./)?(?:aljax|benchmarks|calibration|docs|examples|studies|tests)/[\w./*-]*[\w*])`")
CALLED = re.compile(r"python ((?:benchmarks|calibration|examples|studies)/\w+\.py)")
TREE = re.compile(r"^```\{toctree\}\n(?::.*\n)*\n?((?:[^`\n]+\n)+)```$", re.MULTILINE)


def text_of(page):
    return page.read_text(encoding="utf-8")


def named(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """The names of a page's headings, as GitHub and the generator make them."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_a_page_links_to_includes_and_names_is_there(page):
    text = text_of(page)
    made = {DOCS / f"{name}.rst" for name in GENERATED}
    for target, anchor in LINK.findall(text):
        place = (page.parent / target).resolve()
        assert place.exists() or place in made, target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"
    for target in INCLUDED.findall(text):
        assert (page.parent / target).is_file(), target
    for target in NAMED.findall(text) + CALLED.findall(text):
        assert list(ROOT.glob(target.removeprefix("../"))), target


@pytest.mark.parametrize("path", sorted((ROOT / "aljax").rglob("*.py")), ids=named)
def test_pages_that_the_code_names_are_there(path):
    for target in re.findall(r"docs/[\w/]+\.md", text_of(path)):
        assert (ROOT / target).is_file(), target


def test_the_readme_is_short_with_a_table_and_a_picture_and_sends_on_to_every_kind_of_page():
    text = text_of(ROOT / "README.md")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"^\|-", text, flags=re.MULTILINE)) == 1 and text.count("![") == 1
    assert {target.split("/")[1] for target, _ in LINK.findall(text) if target.startswith("docs/")} >= {
        "tutorial", "howto", "reference", "explanation"
    }  # fmt: skip


def test_every_page_is_reached_from_the_first_by_the_navigation():
    reached, todo = set(), ["index"]
    while todo:
        page = todo.pop()
        reached.add(page)
        if page not in GENERATED:
            for entries in TREE.findall(text_of(DOCS / f"{page}.md")):
                beside = [os.path.normpath(Path(page).parent / entry) for entry in entries.split()]
                todo += [name for name in beside if name not in reached]
    assert reached == {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} | GENERATED


def test_a_newcomer_sees_every_kind_of_page_in_five_clicks():
    path = ["README.md", "docs/tutorial/first_steps.md", "docs/tutorial/from_python.md"]
    path += ["docs/explanation/architecture.md", "docs/howto/write_a_scenario.md", "docs/reference/scenario_files.md"]
    for page, following in itertools.pairwise(ROOT / name for name in path):
        assert following in {(page.parent / target).resolve() for target, _ in LINK.findall(text_of(page))}, page


def test_the_scenario_to_begin_with_is_one():
    assert load_scenario(ROOT / "examples" / "my_agent.toml").action_names[0] == "search"


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="needs the extra docs, as make docs does")
def test_the_pages_build_without_a_warning(tmp_path):
    """All but the reference that is made from the package, which takes long: `make docs` builds that too."""
    settings = {
        "extensions": "myst_parser",
        "exclude_patterns": ",".join(f"{name.partition('/aljax')[0]}*" for name in GENERATED),
        "myst_heading_anchors": "3",
        "suppress_warnings": "toc,myst.xref_missing",  # of what is left out; links and navigation are tested above
    }
    given = [word for key, value in settings.items() for word in ("-D", f"{key}={value}")]
    call = [sys.executable, "-m", "sphinx", "-q", "-W", "-C", "-b", "dummy", *given, DOCS, tmp_path]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
