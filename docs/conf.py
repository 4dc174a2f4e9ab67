"""Settings of the documentation site: ``python -m sphinx -W docs build/site`` builds it, without a network.

Nothing that is made is stored here: API pages are made of docstrings, and pictures are drawn by the scripts in
`pictures/`, while the site is built.
"""

from __future__ import annotations

import gradcheck_fast

project = "gradcheck_fast"
copyright = "the authors of gradcheck_fast"
release = version = gradcheck_fast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "matplotlib.sphinxext.plot_directive",
]
exclude_patterns = ["pictures", "_static"]
default_role = "autolink"  # a name in single backticks is a link if it is documented
suppress_warnings = ["config.cache"]

autosummary_generate = False
autodoc_typehints = "none"  # the docstrings say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_rcparams = {
    "figure.figsize": (7.2, 3.2),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "gradcheck_fast",
}
plot_apply_rcparams = True

html_theme = "pydata_sphinx_theme"
html_title = f"gradcheck_fast {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
