"""The site of the guide and the reference, which `make docs` builds from notebooks and docstrings."""

import os

from docutils import nodes
from docutils.parsers.rst import Directive

import backcast
from backcast.experiments import cli

project = "backcast"
version = release = backcast.__version__
copyright = "the backcast developers, Apache License 2.0"
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["conf.py", "static"]
html_theme = "furo"
html_title = f"backcast {release}"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["wide.css"]

# The notebooks hold the outputs of a full run; the site shows them as they are.
nb_execution_mode = "off"
# Cells with commands of the shell are no Python.
suppress_warnings = ["misc.highlighting_failure"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings write `name` for code and for names of the package alike.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


def escape_shapes(app, what, name, obj, options, lines):
    """Let ``(n, *frame_shape)`` outside of code be no emphasis."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace(", *", r", \*") for part in parts[::2]]
        lines[i] = "``".join(parts)


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out what scikit-learn documents: parameters, routing of metadata, output of tables."""
    return skip or (getattr(obj, "__module__", None) or "").startswith("sklearn.")


def link_measurements(app, page, source):
    """Link to the site's own copy of the page of measurements."""
    source[0] = source[0].replace("../tests/benches/README.md", "measurements.md")


class Help(Directive):
    """What ``backcast COMMAND --help`` prints."""

    required_arguments = 1

    def run(self):
        """Return it as a block of text."""
        (commands,) = (a for a in cli.parser()._actions if isinstance(a.choices, dict))
        text = commands.choices[self.arguments[0]].format_help()
        return [nodes.literal_block(text, text, language="none")]


def setup(app):
    """Register what is above."""
    os.environ["COLUMNS"] = "90"  # argparse breaks lines there
    app.add_directive("help", Help)
    app.connect("autodoc-process-docstring", escape_shapes, priority=0)
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("source-read", link_measurements)
