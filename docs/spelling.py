"""A Sphinx extension: each word of pages and docstrings is in the dictionary or in ``words.txt``."""

import re
from pathlib import Path

from docutils import nodes
from markdown_it import MarkdownIt
from spellchecker import SpellChecker
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

NOT_PROSE = (
    nodes.literal,
    nodes.literal_block,
    nodes.raw,
    nodes.comment,
    addnodes.desc_signature,
    addnodes.toctree,
    addnodes.pending_xref,
)
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
TECHNICAL = re.compile(r"\S*(?:[/@_=]|\w\.\w|\w[A-Z]|\d)\S*")  # a path, an address, aName, v1

warn = logging.getLogger(__name__).warning


def misspelled(prose: str, known: SpellChecker) -> set[str]:
    """The words of a text that are not known."""
    prose = TECHNICAL.sub(" ", prose.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    words = {word.removesuffix("'s") for word in WORD.findall(prose)}
    return {word for word in words if len(word) > 1 and known.unknown([word])}


def is_prose(text: nodes.Text) -> bool:
    """Whether a text is read as language, and is not code or a name."""
    parent = text.parent
    while parent is not None:
        if isinstance(parent, NOT_PROSE):
            return False
        parent = parent.parent
    return True


def check(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Warn of each unknown word; with -W that ends the build."""
    for text in doctree.findall(nodes.Text):
        if is_prose(text):
            for word in sorted(misspelled(text.astext(), app.spelling)):
                warn("%r is in neither the dictionary nor docs/words.txt", word, location=text.parent)


def check_others(app: Sphinx) -> None:
    """The same for what is no page of this documentation."""
    for name in app.config.spelling_others:
        for block in MarkdownIt().parse((Path(app.srcdir) / name).read_text("utf-8")):
            for token in block.children or []:
                for word in sorted(misspelled(token.content if token.type == "text" else "", app.spelling)):
                    place = f"{name}:{block.map[0] + 1 if block.map else 0}"
                    warn("%r is in neither the dictionary nor docs/words.txt", word, location=place)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.spelling = SpellChecker()
    words = (Path(app.srcdir) / "words.txt").read_text("utf-8").split()
    app.spelling.word_frequency.load_words(words)
    app.add_config_value("spelling_others", [], "env")
    app.connect("builder-inited", check_others)
    app.connect("doctree-resolved", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
