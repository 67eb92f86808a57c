"""A Sphinx extension: what programs read of these pages.

Each page gets a description for search engines, and a link to its Markdown, which the builder ``markdown``
writes beside it. ``llms.txt`` (https://llmstxt.org) lists all pages. With ``html_baseurl`` there is also a
sitemap, and Sphinx itself adds canonical links.
"""

from html import escape
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape as escape_xml

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

LONGEST: Final = 300  # search engines show less than this
NOT_A_SUMMARY: Final = (nodes.table, nodes.Admonition, nodes.definition, nodes.list_item, nodes.field_list)


def describe(doctree: nodes.document) -> str:
    """Return the first paragraph of a page, up to the sentence that makes it too long."""
    for paragraph in doctree.findall(nodes.paragraph):
        parent = paragraph.parent
        while parent is not None and not isinstance(parent, NOT_A_SUMMARY):
            parent = parent.parent
        if parent is None:
            text = " ".join(paragraph.astext().split()).rstrip(":.") + "."
            return text if len(text) <= LONGEST else text[:LONGEST].rpartition(". ")[0] + "."
    return ""


def add_to_head(
    _app: Sphinx, page: str, _: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the description and the link to the Markdown to the head of a page."""
    if doctree is not None:
        source = page.rpartition("/")[2] + ".md"
        context["metatags"] = context.get("metatags", "") + (
            f'<meta name="description" content="{escape(describe(doctree))}">\n'
            f'<link rel="alternate" type="text/markdown" href="{escape(source)}">\n'
        )


def in_order(env: BuildEnvironment, page: str) -> list[str]:
    """Return a page and those below it, in the order of the navigation."""
    below = env.toctree_includes.get(page, [])
    return [page, *(each for child in below for each in in_order(env, child))]


def list_pages(app: Sphinx, error: Exception | None) -> None:
    """Write ``llms.txt``, and the sitemap if there is a URL."""
    if error or app.builder.name != "html":
        return
    env, base = app.env, app.config.html_baseurl
    folder = Path(app.outdir)

    def entry(page: str) -> str:
        summary = describe(env.get_doctree(page))
        return f"- [{env.titles[page].astext()}]({base}{page}.md)" + (f": {summary}" if summary else "")

    root = app.config.root_doc
    lines = [f"# {app.config.project}", "", f"> {describe(env.get_doctree(root))}", ""]
    children = env.toctree_includes[root]
    lines += [entry(child) for child in children if child not in env.toctree_includes]
    for child in children:
        if child in env.toctree_includes:
            below = in_order(env, child)[1:]
            lines += ["", f"## {env.titles[child].astext()}", "", *map(entry, below)]
    (folder / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")
    if base:
        urls = "".join(
            f"<url><loc>{escape_xml(base + page)}.html</loc></url>\n" for page in in_order(env, root)
        )
        (folder / "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n',
            "utf-8",
        )


def simplify(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Replace what the builder ``markdown`` would drop or misplace."""
    if app.builder.name != "markdown":
        return
    for raw in list(doctree.findall(nodes.raw)):  # comments, and pictures that need the style sheet
        raw.parent.remove(raw)
    for admonition in list(doctree.findall(nodes.admonition)):
        title, *content = admonition.children
        admonition.replace_self([nodes.paragraph("", "", nodes.strong("", f"{title.astext()}:")), *content])
    for abbreviation in list(doctree.findall(nodes.abbreviation)):  # the * and / of a signature
        abbreviation.replace_self(nodes.Text(abbreviation.astext()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("html-page-context", add_to_head)
    app.connect("doctree-resolved", simplify)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
