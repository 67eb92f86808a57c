"""How Sphinx builds the documentation: ``make docs``. Nothing is fetched from the network."""

import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext")]

from cloudhsm_restore import __version__  # noqa: E402

project = "cloudhsm-restore"
author = "The cloudhsm-restore developers"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"cloudhsm-restore {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# A name in single backticks, in a docstring, is one that must exist.
default_role = "py:obj"
nitpicky = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = [] if find_spec("aiobotocore") else ["aiobotocore"]  # it pins an older botocore
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_use_ivar = False

# Only the names that these pages need, in files of our own: nothing is fetched. A name that is missing there
# is an error, and is added there.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
}
