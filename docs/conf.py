"""How Sphinx builds the documentation: ``make docs``. Nothing is fetched from the network."""

import sys
import typing
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import tables  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.addnodes import pending_xref  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.environment import BuildEnvironment  # noqa: E402

from cloudhsm_restore import Backup, __version__  # noqa: E402

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
    "sphinx_markdown_builder",
    "machine_readable",
    "spelling",
]
exclude_patterns = ["_build"]

spelling_others = [
    "../README.md",
    "../CONTRIBUTING.md",
    "../SECURITY.md",
    "../examples/undelete_guard/README.md",
    "../benchmarks/README.md",
]

html_theme = "furo"
pygments_dark_style = "github-dark"  # furo's own underlines the names of modules
html_title = f"cloudhsm-restore {version}"
html_baseurl = tables.url("Documentation")  # once it is set, there are canonical links and a sitemap
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "codes": tables.codes(),
    "exceptions": tables.exceptions(),
    "fields": tables.fields(),
    "hierarchy": tables.hierarchy(),
    "requirements": tables.requirements(),
}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# A name in single backticks, in a docstring, is one that must exist.
default_role = "py:obj"
nitpicky = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_use_ivar = False

# Only the names that these pages need, in files of our own: nothing is fetched. A name that is missing there
# is an error, and is added there.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
}

# Types that are imported for type checkers only, so that there is nothing to inspect.
BOTO3 = "https://boto3.amazonaws.com/v1/documentation/api/latest/reference"
TYPES = {
    "CloudHSMV2Client": f"{BOTO3}/services/cloudhsmv2.html",
    "Config": "https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html",
    "RestoreBackupResponseTypeDef": f"{BOTO3}/services/cloudhsmv2/client/restore_backup.html",
    "AnyClient": f"{BOTO3}/services/cloudhsmv2.html",  # typed by any package of stubs, or by none
    "boto3.Session": f"{BOTO3}/core/session.html",
}

# Timestamps are shown as what they are, without what only pydantic reads.
Backup.__annotations__ = typing.get_type_hints(Backup)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a type of boto3, or a name of this package without the package in front of it."""
    target = node.get("reftarget", "")
    if target in TYPES:
        return nodes.reference("", "", content, internal=False, refuri=TYPES[target])
    if node.get("refdomain") == "py" and not target.startswith("cloudhsm_restore."):
        python = env.domains["py"]
        return python.resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], f"cloudhsm_restore.{target}", node, content
        )
    return None


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("missing-reference", resolve)
