"""How Sphinx builds these pages: ``make docs``, or ``python -m sphinx -W --keep-going docs build/docs``."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # generate

import aljax

import generate

project = "aljax"
author = "The aljax authors"
project_copyright = author
release = version = aljax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3  # links to headings, as GitHub makes them

default_role = "py:obj"  # `name` in a docstring links to what it names, where there is such a thing
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["dm_env", "gymnasium", "gymnax", "stable_baselines3"]  # adapters' libraries are not needed here
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"  # brings its fonts and scripts along: the pages need no network
html_title = f"aljax {version}"
html_copy_source = False
html_show_sphinx = False


def as_markup(app, what, name, obj, options, lines):
    """Makes of a docstring what Napoleon and Sphinx take for what is meant.

    Nothing before a colon is a type, as types stand in annotations and sentences have colons. What is indented by four
    under a line that is not is shown as it is: commands, equations.
    """
    nothing = "\\ "
    text = "\n".join([nothing, *lines] if what in {"attribute", "data", "property"} else lines)
    text = re.sub(r"^( *(?:Returns|Yields):\n)(\s+)", rf"\1\2\{nothing}\n\2", text, flags=re.MULTILINE)
    lines[:] = re.sub(r"^((?![\s-]).+\n\n)(?= {4}\S)", r"\1::\n\n", text, flags=re.MULTILINE).split("\n")


def setup(app):
    """Has the pages made that follow from the package: the library, module by module, and the commands."""
    app.connect("builder-inited", lambda app: generate.write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", as_markup, priority=400)  # before Napoleon, at 500
